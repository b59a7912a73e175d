//! Runs a checked expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::{Arithmetic, Each, Node, Order, Path, Search};
use super::functions::{Function, Work};
use super::limits::{BYTES_PER_STEP, ELEMENTS_PER_STEP, LATE_PATTERN_STEPS, MAX_LIST, MAX_STEPS, MAX_TEXT};
use super::pattern::Pattern;
use super::{Problem, Scope, Time, Value, time};
use crate::go::number;

/// Runs it.
pub(super) fn run(node: &Node, variables: usize, scope: &mut dyn Scope) -> Result<Value, Problem> {
    let variables = vec![Value::Nil; variables];
    let mut run = Run { scope, variables, frames: Vec::new(), left: MAX_STEPS };
    match run.value(node) {
        Ok(value) => Ok(value),
        Err(Stop::Nil) => Ok(Value::Nil),
        Err(Stop::Problem(problem)) => Err(problem),
    }
}

/// The value of what holds constants only.
pub(super) fn constant(node: &Node) -> Result<Value, Problem> {
    run(node, 0, &mut Nothing)
}

/// A scope without anything.
struct Nothing;

impl Scope for Nothing {
    fn path(&self, _: &[Arc<str>]) -> Option<(Value, usize)> {
        None
    }

    fn now(&self) -> Time {
        Time::zero()
    }
}

/// Why a value is not there.
enum Stop {
    /// The optional part of a chain is nil, so that the chain is.
    Nil,
    Problem(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The element that a closure looks at.
struct Frame {
    element: Value,
    index: usize,
    accumulator: Value,
}

struct Run<'s> {
    scope: &'s mut dyn Scope,
    variables: Vec<Value>,
    frames: Vec<Frame>,
    left: u32,
}

type Found = Result<Value, Stop>;

impl Run<'_> {
    fn spend(&mut self, steps: u32) -> Result<(), Stop> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Stop::Problem(Problem::fixed("the expression takes too many steps")))
            }
        }
    }

    /// Pays for looking at something of this size.
    fn spend_size(&mut self, value: &Value) -> Result<(), Stop> {
        let steps = match value {
            Value::Text(text) => text.len() / BYTES_PER_STEP,
            Value::List(values) => values.len(),
            Value::Map(map) => map.len(),
            Value::Texts(map) => map.len(),
            Value::Nil
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Time(_)
            | Value::Duration(_)
            | Value::Object(_) => 0,
        };
        if steps == 0 { Ok(()) } else { self.spend(u32::try_from(steps).unwrap_or(u32::MAX)) }
    }

    fn value(&mut self, node: &Node) -> Found {
        self.spend(1)?;
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Path(path) => Ok(self.path(path)?),
            Node::EqualText { left, text, negated } => {
                let same = matches!(self.value(left)?, Value::Text(found) if found == *text);
                Ok(Value::Bool(same != *negated))
            }
            Node::InTexts { left, texts } => Ok(Value::Bool(match self.value(left)? {
                Value::Text(found) => texts.binary_search(&found).is_ok(),
                _ => false,
            })),
            Node::All(parts) => self.logic(parts, false),
            Node::Any(parts) => self.logic(parts, true),
            Node::Not(of) => Ok(Value::Bool(!self.truth(of, "not")?)),
            Node::Search { how, left, right } => self.search(*how, left, right),
            Node::Matches { left, pattern } => self.matches(left, pattern.as_deref()),
            Node::Call { function, arguments } => self.call(function, arguments),
            Node::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                if self.truth(condition, "?:")? { self.value(then) } else { self.value(otherwise) }
            }
            _ => self.seldom(node),
        }
    }

    /// The rest, in a function of its own, so that the one above needs little of the stack.
    #[inline(never)]
    fn seldom(&mut self, node: &Node) -> Found {
        match node {
            Node::HasRoot(root) => Ok(Value::Bool(self.scope.path(root).is_some())),
            Node::Variable(slot) => Ok(self.variables.get(*slot).cloned().unwrap_or_default()),
            Node::Element => Ok(self.frame()?.element.clone()),
            Node::Index => Ok(int(self.frame()?.index)),
            Node::Accumulator => Ok(self.frame()?.accumulator.clone()),
            Node::Member { base, name, optional } => match self.value(base)? {
                Value::Nil if *optional => Err(Stop::Nil),
                base => Ok(base.field(name)?),
            },
            Node::Item { base, key, optional } => match self.value(base)? {
                Value::Nil if *optional => Err(Stop::Nil),
                base => {
                    let key = self.value(key)?;
                    Ok(item(&base, &key)?)
                }
            },
            Node::Slice { base, from, to } => self.slice(base, from.as_deref(), to.as_deref()),
            Node::Chain(of) => match self.value(of) {
                Err(Stop::Nil) => Ok(Value::Nil),
                other => other,
            },
            Node::Method { base, name, optional, arguments } => self.method(base, name, *optional, arguments),
            Node::Ask { name, arguments } => {
                let arguments = self.values(arguments)?;
                match self.scope.call(name, &arguments) {
                    Some(value) => Ok(value?),
                    None => Err(Problem::new(format!("there is no function `{name}` here")).into()),
                }
            }
            Node::Store { read, text, path, key } => {
                let text = self.value(text)?;
                self.spend_size(&text)?;
                let key = self.value(key)?;
                let (Value::Text(text), Value::Text(key)) = (&text, &key) else {
                    return Err(
                        Problem::fixed("what is read and the key it is stored under are texts").into()
                    );
                };
                let before = self.scope.path(&path.0).and_then(|(mut map, used)| {
                    for name in path.0.iter().skip(used) {
                        map = map.field(name).ok()?;
                    }
                    map.field(key).ok()
                });
                let value = read.read(text, before.unwrap_or_default())?;
                self.scope.store(&path.0, key, value)?;
                Ok(Value::Nil)
            }
            Node::Each { what, list, closure, more } => {
                self.each(*what, list, closure.as_deref(), more.as_deref())
            }
            Node::Sign { negative, of } => match self.value(of)? {
                Value::Int(number) => Ok(Value::Int(if *negative { number.wrapping_neg() } else { number })),
                Value::Float(number) => Ok(Value::Float(if *negative { -number } else { number })),
                Value::Duration(number) => {
                    Ok(Value::Duration(if *negative { number.wrapping_neg() } else { number }))
                }
                other => Err(Problem::new(format!("{} is no number", other.kind())).into()),
            },
            Node::Arithmetic { operator, left, right } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.spend_size(&left)?;
                self.spend_size(&right)?;
                let value = arithmetic(*operator, &left, &right)?;
                self.spend_size(&value)?;
                Ok(value)
            }
            Node::Equal { left, right, negated } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.spend_size(&left)?;
                Ok(Value::Bool(left.equals(&right) != *negated))
            }
            Node::Order { operands, operators } => self.orders(operands, operators),
            Node::In { left, right } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                if let Value::List(values) = &right {
                    let each = 1 + left.as_text().map_or(0, str::len) / BYTES_PER_STEP;
                    let steps = values.len().saturating_mul(each) / ELEMENTS_PER_STEP;
                    self.spend(u32::try_from(steps).unwrap_or(u32::MAX))?;
                }
                Ok(Value::Bool(within(&left, &right)?))
            }
            Node::LateMatches { left, right } => {
                let pattern = self.text(right, "matches")?;
                self.spend(LATE_PATTERN_STEPS)?;
                let pattern = Pattern::late(&pattern);
                self.matches(left, pattern.as_ref())
            }
            Node::Coalesce { left, right } => match self.value(left)? {
                Value::Nil => self.value(right),
                value => Ok(value),
            },
            Node::List(parts) => {
                Ok(Value::List(parts.iter().map(|part| self.value(part)).collect::<Result<_, _>>()?))
            }
            Node::Map(pairs) => {
                let mut map = BTreeMap::new();
                for (key, value) in pairs {
                    let Value::Text(key) = self.value(key)? else {
                        return Err(Problem::fixed("the keys of a map are texts").into());
                    };
                    map.insert(key, self.value(value)?);
                }
                Ok(Value::Map(Arc::new(map)))
            }
            Node::Let { slot, value, body } => {
                let value = self.value(value)?;
                if let Some(place) = self.variables.get_mut(*slot) {
                    *place = value;
                }
                self.value(body)
            }
            Node::Sequence(parts) => {
                let mut last = Value::Nil;
                for part in parts {
                    last = self.value(part)?;
                }
                Ok(last)
            }
            Node::Constant(_)
            | Node::Path(_)
            | Node::EqualText { .. }
            | Node::InTexts { .. }
            | Node::All(_)
            | Node::Any(_)
            | Node::Not(_)
            | Node::Search { .. }
            | Node::Matches { .. }
            | Node::Call { .. }
            | Node::Conditional(_) => self.value(node),
        }
    }

    fn path(&self, path: &Path) -> Result<Value, Problem> {
        let Some((mut value, used)) = self.scope.path(&path.0) else {
            return Err(Problem::new(format!(
                "there is no `{}` here",
                path.0.first().map_or("", |root| root)
            )));
        };
        for (place, name) in path.0.iter().enumerate().skip(used.max(1)) {
            if matches!(value, Value::Nil) {
                let before = path.0.get(..place).unwrap_or_default().join(".");
                return Err(Problem::new(format!("there is no `{name}` in `{before}`, which is nil")));
            }
            value = value.field(name)?;
        }
        Ok(value)
    }

    fn frame(&self) -> Result<&Frame, Problem> {
        self.frames.last().ok_or(Problem::fixed("`#` outside of a closure"))
    }

    fn truth(&mut self, node: &Node, operator: &str) -> Result<bool, Stop> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(not_for(operator, &other).into()),
        }
    }

    fn text(&mut self, node: &Node, operator: &str) -> Result<Arc<str>, Stop> {
        match self.value(node)? {
            Value::Text(text) => Ok(text),
            other => Err(not_for(operator, &other).into()),
        }
    }

    /// Until one of them is `decides`.
    fn logic(&mut self, parts: &[Node], decides: bool) -> Found {
        for part in parts {
            if self.truth(part, if decides { "or" } else { "and" })? == decides {
                return Ok(Value::Bool(decides));
            }
        }
        Ok(Value::Bool(!decides))
    }

    fn search(&mut self, how: Search, left: &Node, right: &Node) -> Found {
        let operator = match how {
            Search::Contains => "contains",
            Search::StartsWith => "startsWith",
            Search::EndsWith => "endsWith",
        };
        // nil contains nothing and begins with nothing, and the other way round.
        let (left, right) = match (self.value(left)?, self.value(right)?) {
            (Value::Text(left), Value::Text(right)) => (left, right),
            (Value::Nil, Value::Nil | Value::Text(_)) | (Value::Text(_), Value::Nil) => {
                return Ok(Value::Bool(false));
            }
            (Value::Text(_) | Value::Nil, other) | (other, _) => return Err(not_for(operator, &other).into()),
        };
        self.spend(u32::try_from(left.len() / BYTES_PER_STEP).unwrap_or(u32::MAX))?;
        Ok(Value::Bool(match how {
            Search::Contains => left.contains(&*right),
            Search::StartsWith => left.starts_with(&*right),
            Search::EndsWith => left.ends_with(&*right),
        }))
    }

    fn matches(&mut self, left: &Node, pattern: Result<&Pattern, &Problem>) -> Found {
        let text = match self.value(left)? {
            Value::Text(text) => text,
            Value::Nil => return Ok(Value::Bool(false)),
            other => return Err(not_for("matches", &other).into()),
        };
        self.spend(u32::try_from(text.len() / BYTES_PER_STEP).unwrap_or(u32::MAX))?;
        match pattern {
            Ok(pattern) => Ok(Value::Bool(pattern.is_match(&text)?)),
            Err(problem) => Err(problem.clone().into()),
        }
    }

    fn orders(&mut self, operands: &[Node], operators: &[Order]) -> Found {
        let Some((first, rest)) = operands.split_first() else { return Ok(Value::Bool(true)) };
        let mut left = self.value(first)?;
        for (operator, right) in operators.iter().zip(rest) {
            let right = self.value(right)?;
            self.spend_size(&right)?;
            let order = left.order(&right);
            if order.is_none() && !(left.as_number().is_some() && right.as_number().is_some()) {
                let message = format!("{} and {} have no order", left.kind(), right.kind());
                return Err(Problem::new(message).into());
            }
            // Numbers without an order hold a NaN, of which nothing is true.
            let holds = order.is_some_and(|order| match operator {
                Order::Less => order.is_lt(),
                Order::LessOrEqual => order.is_le(),
                Order::Greater => order.is_gt(),
                Order::GreaterOrEqual => order.is_ge(),
            });
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn values(&mut self, nodes: &[Node]) -> Result<Vec<Value>, Stop> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            let value = self.value(node)?;
            self.spend_size(&value)?;
            values.push(value);
        }
        Ok(values)
    }

    #[inline(never)]
    fn call(&mut self, function: &Function, nodes: &[Node]) -> Found {
        // Few arguments, as most have, need no memory of their own.
        const FEW: usize = 3;
        let (mut few, mut many) = ([const { Value::Nil }; FEW], Vec::new());
        let arguments = if nodes.len() <= FEW {
            for (place, node) in few.iter_mut().zip(nodes) {
                *place = self.value(node)?;
            }
            few.get(..nodes.len()).unwrap_or_default()
        } else {
            many.extend(self.values(nodes)?);
            &many[..]
        };
        for value in arguments {
            self.spend_size(value)?;
        }
        let value = match function.work {
            Work::Pure(work) => work(arguments)?,
            Work::Now(work) => work(arguments, self.scope.now())?,
        };
        self.spend_size(&value)?;
        if matches!(&value, Value::Text(text) if text.len() > MAX_TEXT)
            || matches!(&value, Value::List(list) if list.len() > MAX_LIST)
        {
            return Err(Problem::new(format!("`{}` makes more than is allowed", function.name)).into());
        }
        Ok(value)
    }

    #[inline(never)]
    fn method(&mut self, base: &Node, name: &Arc<str>, optional: bool, nodes: &[Node]) -> Found {
        let arguments = self.values(nodes)?;
        if let Node::Path(path) = base
            && let Some(value) = self.scope.call_method(&path.0, name, &arguments)
        {
            return Ok(value?);
        }
        let base = self.value(base)?;
        let value = match &base {
            Value::Nil if optional => return Err(Stop::Nil),
            Value::Time(time) => time::call(*time, name, &arguments),
            Value::Duration(duration) => time::call_duration(*duration, name, &arguments),
            Value::Object(object) => object.call(name, &arguments),
            Value::Nil
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Texts(_) => None,
        };
        match value {
            Some(value) => Ok(value?),
            None => {
                let kinds: Vec<&str> = arguments.iter().map(Value::kind).collect();
                let message = format!("{} has no method {name}({})", base.kind(), kinds.join(", "));
                Err(Problem::new(message).into())
            }
        }
    }

    fn slice(&mut self, base: &Node, from: Option<&Node>, to: Option<&Node>) -> Found {
        let base = self.value(base)?;
        self.spend_size(&base)?;
        let length = match &base {
            Value::Text(text) => text.len(),
            Value::List(values) => values.len(),
            other => return Err(Problem::new(format!("{} cannot be cut", other.kind())).into()),
        };
        let mut ends = [0, length];
        for (end, node) in ends.iter_mut().zip([from, to]) {
            if let Some(node) = node {
                let value = self.value(node)?;
                *end = position(whole(&value)?, length).min(length);
            }
        }
        let [from, to] = [ends[0].min(ends[1]), ends[1]];
        Ok(match &base {
            // By bytes, as in Go; a character that is cut becomes U+FFFD.
            Value::Text(text) => match text.get(from..to) {
                Some(cut) => Value::text(cut),
                None => {
                    let bytes = text.as_bytes().get(from..to).unwrap_or_default();
                    Value::from(String::from_utf8_lossy(bytes).into_owned())
                }
            },
            Value::List(values) => Value::List(Arc::from(values.get(from..to).unwrap_or_default())),
            _ => Value::Nil,
        })
    }

    #[inline(never)]
    fn each(&mut self, what: Each, list: &Node, closure: Option<&Node>, more: Option<&Node>) -> Found {
        let values = match self.value(list)? {
            Value::List(values) => values,
            other => {
                return Err(Problem::new(format!("{} has no elements to go through", other.kind())).into());
            }
        };
        let more = more.map(|more| self.value(more)).transpose()?;
        let depth = self.frames.len();
        let value = self.go_through(what, &values, closure, more);
        self.frames.truncate(depth);
        value
    }

    fn go_through(
        &mut self,
        what: Each,
        values: &[Value],
        closure: Option<&Node>,
        more: Option<Value>,
    ) -> Found {
        let frame = Frame { element: Value::Nil, index: 0, accumulator: Value::Nil };
        self.frames.push(frame);
        let from_behind = matches!(what, Each::FindLast | Each::FindLastIndex);
        let mut kept = Vec::new();
        let mut keys = Vec::new();
        let mut groups: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        let mut total = Value::Int(0);
        let mut count = 0;
        let mut reduced = if what == Each::Reduce { more.clone() } else { None };
        for place in 0..values.len() {
            let place = if from_behind { values.len() - 1 - place } else { place };
            let Some(element) = values.get(place) else { break };
            if what == Each::Reduce && reduced.is_none() {
                reduced = Some(element.clone());
                continue;
            }
            if let Some(frame) = self.frames.last_mut() {
                frame.element = element.clone();
                frame.index = place;
                if let Some(reduced) = &reduced {
                    frame.accumulator = reduced.clone();
                }
            }
            let found = match closure {
                Some(closure) => self.value(closure)?,
                None => element.clone(),
            };
            let holds = || match &found {
                Value::Bool(holds) => Ok(*holds),
                other => Err(Problem::new(format!("a closure is {}, neither true nor false", other.kind()))),
            };
            match what {
                Each::All if !holds()? => return Ok(Value::Bool(false)),
                Each::Any if holds()? => return Ok(Value::Bool(true)),
                Each::None if holds()? => return Ok(Value::Bool(false)),
                Each::Find | Each::FindLast if holds()? => return Ok(element.clone()),
                Each::FindIndex | Each::FindLastIndex if holds()? => return Ok(int(place)),
                Each::Filter if holds()? => kept.push(element.clone()),
                Each::One | Each::Count if holds()? => count += 1,
                Each::Map => kept.push(found),
                Each::Sum => total = arithmetic(Arithmetic::Add, &total, &found)?,
                Each::GroupBy => {
                    let key = Value::from(found.to_string());
                    self.spend_size(&key)?;
                    if let Value::Text(key) = key {
                        groups.entry(key).or_default().push(element.clone());
                    }
                }
                Each::SortBy => keys.push((found, element.clone())),
                Each::Reduce => reduced = Some(found),
                Each::All
                | Each::Any
                | Each::None
                | Each::Find
                | Each::FindLast
                | Each::FindIndex
                | Each::FindLastIndex
                | Each::Filter
                | Each::One
                | Each::Count => {}
            }
        }
        Ok(match what {
            Each::All | Each::None => Value::Bool(true),
            Each::Any => Value::Bool(false),
            Each::One => Value::Bool(count == 1),
            Each::Find | Each::FindLast => Value::Nil,
            Each::FindIndex | Each::FindLastIndex => Value::Int(-1),
            Each::Filter | Each::Map => Value::list(kept),
            Each::Count => int(count),
            Each::Sum => total,
            Each::GroupBy => Value::Map(Arc::new(
                groups.into_iter().map(|(key, group)| (key, Value::list(group))).collect(),
            )),
            Each::SortBy => {
                let descending = super::functions::descending(more.as_ref())?;
                super::functions::sort_by(&mut keys, descending)?;
                keys.into_iter().map(|(_, element)| element).collect()
            }
            Each::Reduce => match reduced {
                Some(reduced) => reduced,
                None => return Err(Problem::fixed("an empty list cannot be reduced").into()),
            },
        })
    }
}

fn not_for(operator: &str, value: &Value) -> Problem {
    Problem::new(format!("`{operator}` cannot work on {}", value.kind()))
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A whole number, of a float its whole part.
pub(super) fn whole(value: &Value) -> Result<i64, Problem> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Float(number) => Ok(number::truncate(*number)),
        other => Err(Problem::new(format!("{} is no number", other.kind()))),
    }
}

/// A place in something of this length; negative ones count from the end.
fn position(number: i64, length: usize) -> usize {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let number = if number < 0 { number.saturating_add(length).max(0) } else { number };
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// `base[key]`
pub(super) fn item(base: &Value, key: &Value) -> Result<Value, Problem> {
    let length = match base {
        Value::List(values) => values.len(),
        Value::Text(text) => text.len(),
        Value::Map(_) | Value::Texts(_) => {
            return match key {
                Value::Text(key) => base.field(key),
                Value::Nil => base.field(""),
                other => base.field(&other.to_string()),
            };
        }
        _ => match key {
            Value::Text(key) => return base.field(key),
            other => return Err(Problem::new(format!("{} has no element `{other}`", base.kind()))),
        },
    };
    let number = whole(key)?;
    let place = if number < 0 {
        usize::try_from(number.unsigned_abs()).ok().and_then(|back| length.checked_sub(back))
    } else {
        usize::try_from(number).ok()
    };
    let found = place.and_then(|place| match base {
        Value::List(values) => values.get(place).cloned(),
        Value::Text(text) => text.as_bytes().get(place).map(|byte| Value::Int(i64::from(*byte))),
        _ => None,
    });
    found.ok_or_else(|| Problem::new(format!("there is no element {number} of {length}")))
}

/// `left in right`
fn within(left: &Value, right: &Value) -> Result<bool, Problem> {
    match (left, right) {
        (_, Value::Nil) => Ok(false),
        (_, Value::List(values)) => Ok(values.iter().any(|value| value.equals(left))),
        (Value::Text(key), Value::Map(map)) => Ok(map.contains_key(key)),
        (Value::Text(key), Value::Texts(map)) => Ok(map.contains_key(key)),
        (_, Value::Map(map)) => Ok(map.contains_key(left.to_string().as_str())),
        (Value::Text(key), Value::Object(object)) => Ok(object.contains(key)),
        _ => Err(Problem::new(format!("{} cannot be in {}", left.kind(), right.kind()))),
    }
}

fn arithmetic(operator: Arithmetic, left: &Value, right: &Value) -> Result<Value, Problem> {
    use Value::{Duration, Float, Int, Text};
    let name = match operator {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Remainder => "%",
        Arithmetic::Power => "**",
        Arithmetic::Range => "..",
    };
    Ok(match (operator, left, right) {
        (Arithmetic::Add, Text(left), Text(right)) => {
            if left.len() + right.len() > MAX_TEXT {
                return Err(Problem::fixed("a text gets too long"));
            }
            let mut text = String::with_capacity(left.len() + right.len());
            text.push_str(left);
            text.push_str(right);
            Value::from(text)
        }
        (Arithmetic::Add, Int(left), Int(right)) => Int(left.wrapping_add(*right)),
        (Arithmetic::Subtract, Int(left), Int(right)) => Int(left.wrapping_sub(*right)),
        (Arithmetic::Multiply, Int(left), Int(right)) => Int(left.wrapping_mul(*right)),
        (Arithmetic::Remainder, Int(_), Int(0)) => {
            return Err(Problem::fixed("a remainder of a division by zero"));
        }
        (Arithmetic::Remainder, Int(left), Int(right)) => Int(left.wrapping_rem(*right)),
        (Arithmetic::Range, Int(from), Int(to)) => {
            let length = to.checked_sub(*from).and_then(|last| usize::try_from(last).ok()?.checked_add(1));
            match length {
                _ if to < from => Value::list(Vec::new()),
                Some(length) if length <= MAX_LIST => (*from..=*to).map(Int).collect(),
                _ => return Err(Problem::new(format!("{from}..{to} are more numbers than are allowed"))),
            }
        }
        (Arithmetic::Add, Value::Time(time), Duration(later))
        | (Arithmetic::Add, Duration(later), Value::Time(time)) => Value::Time(time.later(*later)?),
        (Arithmetic::Add, Duration(left), Duration(right)) => Duration(left.wrapping_add(*right)),
        (Arithmetic::Subtract, Value::Time(left), Value::Time(right)) => Duration(left.since(*right)),
        (Arithmetic::Subtract, Value::Time(time), Duration(sooner)) => {
            Value::Time(time.later(sooner.wrapping_neg())?)
        }
        (Arithmetic::Subtract, Duration(left), Duration(right)) => Duration(left.wrapping_sub(*right)),
        (Arithmetic::Multiply, Duration(duration), Int(times))
        | (Arithmetic::Multiply, Int(times), Duration(duration)) => Duration(duration.wrapping_mul(*times)),
        #[expect(clippy::cast_precision_loss, reason = "as Go does")]
        (Arithmetic::Multiply, Duration(duration), Float(times))
        | (Arithmetic::Multiply, Float(times), Duration(duration)) => {
            Duration(number::truncate(*duration as f64 * times))
        }
        _ => {
            let (Some(left), Some(right)) = (left.as_number(), right.as_number()) else {
                return Err(Problem::new(format!(
                    "`{name}` cannot work on {} and {}",
                    left.kind(),
                    right.kind()
                )));
            };
            match operator {
                Arithmetic::Add => Float(left + right),
                Arithmetic::Subtract => Float(left - right),
                Arithmetic::Multiply => Float(left * right),
                Arithmetic::Divide => Float(left / right),
                Arithmetic::Power => Float(left.powf(right)),
                Arithmetic::Remainder | Arithmetic::Range => {
                    return Err(Problem::new(format!("`{name}` works on whole numbers")));
                }
            }
        }
    })
}
