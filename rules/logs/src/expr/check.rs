//! The tree as written to the one that is run: names resolved, constants computed, patterns compiled.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::functions::{self, Function};
use super::limits::MAX_VARIABLES;
use super::pattern::Pattern;
use super::syntax::{Kind, Tree};
use super::{Mistake, Problem, Value, run};

/// What is run.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value),
    Path(Path),
    /// `"name" in $env`
    HasRoot([Arc<str>; 1]),
    Variable(usize),
    /// The element (`#`) of the innermost closure.
    Element,
    Index,
    Accumulator,
    Member {
        base: Box<Node>,
        name: Arc<str>,
        optional: bool,
    },
    Item {
        base: Box<Node>,
        key: Box<Node>,
        optional: bool,
    },
    Slice {
        base: Box<Node>,
        from: Option<Box<Node>>,
        to: Option<Box<Node>>,
    },
    Chain(Box<Node>),
    Method {
        base: Box<Node>,
        name: Arc<str>,
        optional: bool,
        arguments: Box<[Node]>,
    },
    Call {
        function: &'static Function,
        arguments: Box<[Node]>,
    },
    /// A function of the scope.
    Ask {
        name: Arc<str>,
        arguments: Box<[Node]>,
    },
    /// `UnmarshalJSON` and the like, which write into a map of the scope.
    Store {
        read: functions::Read,
        text: Box<Node>,
        path: Path,
        key: Box<Node>,
    },
    Each {
        what: Each,
        list: Box<Node>,
        closure: Option<Box<Node>>,
        more: Option<Box<Node>>,
    },
    Not(Box<Node>),
    Sign {
        negative: bool,
        of: Box<Node>,
    },
    Arithmetic {
        operator: Arithmetic,
        left: Box<Node>,
        right: Box<Node>,
    },
    Equal {
        left: Box<Node>,
        right: Box<Node>,
        negated: bool,
    },
    /// The common case, without looking at kinds.
    EqualText {
        left: Box<Node>,
        text: Arc<str>,
        negated: bool,
    },
    Order {
        operands: Box<[Node]>,
        operators: Box<[Order]>,
    },
    /// In a list of texts that is known: sorted.
    InTexts {
        left: Box<Node>,
        texts: Box<[Arc<str>]>,
    },
    In {
        left: Box<Node>,
        right: Box<Node>,
    },
    Search {
        how: Search,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// A pattern that is known. If it was put together by a function and is wrong, that shows when it is run.
    Matches {
        left: Box<Node>,
        pattern: Result<Box<Pattern>, Problem>,
    },
    LateMatches {
        left: Box<Node>,
        right: Box<Node>,
    },
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Conditional(Box<[Node; 3]>),
    Coalesce {
        left: Box<Node>,
        right: Box<Node>,
    },
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Let {
        slot: usize,
        value: Box<Node>,
        body: Box<Node>,
    },
    Sequence(Box<[Node]>),
}

/// A path of names from a root.
#[derive(Clone, Debug)]
pub(super) struct Path(pub(super) Box<[Arc<str>]>);

/// Operators on two numbers (and `+` on texts).
#[derive(Clone, Copy, Debug)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Range,
}

/// Comparisons.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where one text is looked for in another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

/// Functions that run a closure for each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    All,
    None,
    Any,
    One,
    Filter,
    Map,
    Count,
    Sum,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    GroupBy,
    SortBy,
    Reduce,
}

impl Each {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "none" => Self::None,
            "any" => Self::Any,
            "one" => Self::One,
            "filter" => Self::Filter,
            "map" => Self::Map,
            "count" => Self::Count,
            "sum" => Self::Sum,
            "find" => Self::Find,
            "findIndex" => Self::FindIndex,
            "findLast" => Self::FindLast,
            "findLastIndex" => Self::FindLastIndex,
            "groupBy" => Self::GroupBy,
            "sortBy" => Self::SortBy,
            "reduce" => Self::Reduce,
            _ => return None,
        })
    }
}

/// A checked expression and what it talks about.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) node: Node,
    pub(super) variables: usize,
    pub(super) functions: Vec<Arc<str>>,
    pub(super) paths: Vec<Box<[Arc<str>]>>,
}

/// Checks an expression.
pub(super) fn check(tree: &Tree) -> Result<Checked, Mistake> {
    let mut checker = Checker::default();
    let node = checker.node(tree)?;
    Ok(Checked {
        node,
        variables: checker.variables,
        functions: checker.functions.into_iter().collect(),
        paths: checker.paths.into_iter().collect(),
    })
}

#[derive(Default)]
struct Checker {
    /// Names of variables that can be seen; the place is the slot.
    scope: Vec<String>,
    variables: usize,
    functions: BTreeSet<Arc<str>>,
    paths: BTreeSet<Box<[Arc<str>]>>,
}

type Made = Result<Node, Mistake>;

impl Checker {
    fn boxed(&mut self, tree: &Tree) -> Result<Box<Node>, Mistake> {
        self.node(tree).map(Box::new)
    }

    fn optional(&mut self, tree: Option<&Tree>) -> Result<Option<Box<Node>>, Mistake> {
        tree.map(|tree| self.boxed(tree)).transpose()
    }

    fn nodes(&mut self, trees: &[Tree]) -> Result<Box<[Node]>, Mistake> {
        trees.iter().map(|tree| self.node(tree)).collect()
    }

    fn node(&mut self, tree: &Tree) -> Made {
        let node = match &tree.kind {
            Kind::Constant(value) => Node::Constant(value.clone()),
            Kind::Name(_) | Kind::Member { .. } => return self.member(tree),
            Kind::Pointer(name) => self.pointer(tree.at, name)?,
            Kind::Slice { base, from, to } => Node::Slice {
                base: self.boxed(base)?,
                from: self.optional(from.as_deref())?,
                to: self.optional(to.as_deref())?,
            },
            Kind::Method { base, name, optional, arguments } => Node::Method {
                base: self.boxed(base)?,
                name: Arc::from(name.as_str()),
                optional: *optional,
                arguments: self.nodes(arguments)?,
            },
            Kind::Call { name, arguments } => return self.call(tree.at, name, arguments),
            Kind::Each { name, list, closure, more } => {
                let Some(what) = Each::named(name) else {
                    return Err(Mistake::new(
                        tree.at,
                        format!("`{name}` takes no closure"),
                        "leave out the braces",
                    ));
                };
                Node::Each {
                    what,
                    list: self.boxed(list)?,
                    closure: self.optional(closure.as_deref())?,
                    more: self.optional(more.as_deref())?,
                }
            }
            Kind::Not(of) => Node::Not(self.boxed(of)?),
            Kind::Sign { negative, of } => Node::Sign { negative: *negative, of: self.boxed(of)? },
            Kind::Binary { operator, left, right } => return self.binary(tree.at, operator, left, right),
            Kind::Logic { and, parts } => {
                let parts = self.nodes(parts)?;
                if *and { Node::All(parts) } else { Node::Any(parts) }
            }
            Kind::Orders { operands, operators } => Node::Order {
                operands: self.nodes(operands)?,
                operators: operators
                    .iter()
                    .map(|operator| match *operator {
                        "<" => Order::Less,
                        "<=" => Order::LessOrEqual,
                        ">" => Order::Greater,
                        _ => Order::GreaterOrEqual,
                    })
                    .collect(),
            },
            Kind::Chain(of) => Node::Chain(self.boxed(of)?),
            Kind::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                Node::Conditional(Box::new([self.node(condition)?, self.node(then)?, self.node(otherwise)?]))
            }
            Kind::List(parts) => Node::List(self.nodes(parts)?),
            Kind::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| Ok((self.node(key)?, self.node(value)?)));
                Node::Map(pairs.collect::<Result<_, Mistake>>()?)
            }
            Kind::Let { name, value, body } => return self.variable(tree.at, name, value, body),
            Kind::Sequence(parts) => Node::Sequence(self.nodes(parts)?),
        };
        Self::computed(tree.at, node)
    }

    fn pointer(&self, at: usize, name: &str) -> Made {
        match name {
            "" => Ok(Node::Element),
            "index" => Ok(Node::Index),
            "acc" => Ok(Node::Accumulator),
            other => {
                Err(Mistake::new(at, format!("`#{other}` means nothing"), "write `#`, `#index` or `#acc`"))
            }
        }
    }

    /// A name, a path of names, or an element of whatever.
    fn member(&mut self, tree: &Tree) -> Made {
        if let Some(path) = self.path(tree) {
            self.paths.insert(path.0.clone());
            return Ok(Node::Path(path));
        }
        match &tree.kind {
            Kind::Name(name) => match self.scope.iter().rposition(|known| known == name) {
                Some(slot) => Ok(Node::Variable(slot)),
                None => {
                    let help = "name what is in it: `$env.evt` is `evt`";
                    Err(Mistake::new(tree.at, format!("`{name}` cannot stand alone"), help))
                }
            },
            Kind::Member { base, key, optional } => {
                let (base, optional) = (self.boxed(base)?, *optional);
                let node = match &key.kind {
                    Kind::Constant(Value::Text(name)) => Node::Member { base, name: name.clone(), optional },
                    _ => Node::Item { base, key: self.boxed(key)?, optional },
                };
                Self::computed(tree.at, node)
            }
            _ => self.node(tree),
        }
    }

    /// The path that a tree stands for, if it is nothing else.
    fn path(&self, tree: &Tree) -> Option<Path> {
        let mut names = Vec::new();
        let mut tree = tree;
        loop {
            match &tree.kind {
                Kind::Name(name) if name == "$env" && !names.is_empty() => break,
                Kind::Name(name) if name != "$env" && !self.scope.contains(name) => {
                    names.push(Arc::from(name.as_str()));
                    break;
                }
                Kind::Member { base, key, optional: false } => {
                    let Kind::Constant(Value::Text(name)) = &key.kind else { return None };
                    names.push(name.clone());
                    tree = base;
                }
                _ => return None,
            }
        }
        names.reverse();
        Some(Path(names.into()))
    }

    fn variable(&mut self, at: usize, name: &str, value: &Tree, body: &Tree) -> Made {
        if functions::find(name).is_some() || Each::named(name).is_some() {
            let help = format!("choose another name; `{name}` is a function");
            return Err(Mistake::new(at, format!("`{name}` cannot be a variable"), help));
        }
        if self.scope.iter().any(|known| known == name) {
            return Err(Mistake::new(
                at,
                format!("there is a variable `{name}` already"),
                "choose another name",
            ));
        }
        let value = self.boxed(value)?;
        let slot = self.scope.len();
        if slot == MAX_VARIABLES {
            let help = format!("at most {MAX_VARIABLES} are possible");
            return Err(Mistake::new(at, "too many variables", help));
        }
        self.scope.push(name.to_owned());
        self.variables = self.variables.max(self.scope.len());
        let body = self.boxed(body);
        self.scope.pop();
        Ok(Node::Let { slot, value, body: body? })
    }

    fn call(&mut self, at: usize, name: &str, arguments: &[Tree]) -> Made {
        if let Some(read) = functions::Read::named(name) {
            let [text, target, key] = arguments else {
                let help = format!("write {name}(text, evt.Unmarshaled, \"key\")");
                return Err(Mistake::new(at, format!("{name} with {} arguments", arguments.len()), help));
            };
            let Some(path) = self.path(target) else {
                let help = "the second argument is a map of the event, such as `evt.Unmarshaled`";
                return Err(Mistake::new(target.at, format!("{name} cannot store there"), help));
            };
            return Ok(Node::Store { read, text: self.boxed(text)?, path, key: self.boxed(key)? });
        }
        let nodes = self.nodes(arguments)?;
        let Some(function) = functions::find(name) else {
            let name: Arc<str> = Arc::from(name);
            self.functions.insert(name.clone());
            return Ok(Node::Ask { name, arguments: nodes });
        };
        if nodes.len() < function.least || nodes.len() > function.most {
            let count = match (function.least, function.most) {
                (least, most) if least == most => format!("{least}"),
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) => format!("{least} to {most}"),
            };
            let message = format!("`{name}` with {} arguments", nodes.len());
            return Err(Mistake::new(at, message, format!("it takes {count}")));
        }
        Ok(fold(Node::Call { function, arguments: nodes }))
    }

    fn binary(&mut self, at: usize, operator: &str, left: &Tree, right: &Tree) -> Made {
        if operator == "in" && matches!(&right.kind, Kind::Name(name) if name == "$env") {
            let Kind::Constant(Value::Text(name)) = &left.kind else {
                let help = "write `\"name\" in $env`";
                return Err(Mistake::new(right.at, "only a text can be `in $env`", help));
            };
            return Ok(Node::HasRoot([name.clone()]));
        }
        let (first, second) = (self.node(left)?, self.node(right)?);
        let arithmetic = |operator, left, right| {
            Ok(Node::Arithmetic { operator, left: Box::new(left), right: Box::new(right) })
        };
        let search =
            |how, left, right| Ok(Node::Search { how, left: Box::new(left), right: Box::new(right) });
        let node = match operator {
            "==" => Ok(equal(first, second, false)),
            "!=" => Ok(equal(first, second, true)),
            "in" => Ok(within(first, second)),
            "matches" => matches(first, second, right),
            "contains" => search(Search::Contains, first, second),
            "startsWith" => search(Search::StartsWith, first, second),
            "endsWith" => search(Search::EndsWith, first, second),
            "+" => arithmetic(Arithmetic::Add, first, second),
            "-" => arithmetic(Arithmetic::Subtract, first, second),
            "*" => arithmetic(Arithmetic::Multiply, first, second),
            "/" => arithmetic(Arithmetic::Divide, first, second),
            "%" => arithmetic(Arithmetic::Remainder, first, second),
            "**" | "^" => arithmetic(Arithmetic::Power, first, second),
            ".." => arithmetic(Arithmetic::Range, first, second),
            "??" => Ok(Node::Coalesce { left: Box::new(first), right: Box::new(second) }),
            other => Err(Mistake::new(
                at,
                format!("`{other}` is no operator here"),
                "see the operators of expr-lang",
            )),
        };
        Self::computed(at, node?)
    }

    /// Computes what consists of constants. An operator that cannot work on them is a mistake.
    fn computed(at: usize, node: Node) -> Made {
        if !node.is_constant() {
            return Ok(node);
        }
        match run::constant(&node) {
            Ok(value) => Ok(Node::Constant(value)),
            Err(problem) => Err(Mistake::new(
                at,
                problem.to_string(),
                "this can never work; compare and add like with like",
            )),
        }
    }
}

/// A call on constants becomes its result; if it fails, it fails when it is run, as it does in Go.
fn fold(node: Node) -> Node {
    if !node.is_constant() {
        return node;
    }
    run::constant(&node).map_or(node, Node::Constant)
}

fn equal(left: Node, right: Node, negated: bool) -> Node {
    match (left, right) {
        (Node::Constant(Value::Text(text)), other) | (other, Node::Constant(Value::Text(text)))
            if !matches!(other, Node::Constant(_)) =>
        {
            Node::EqualText { left: Box::new(other), text, negated }
        }
        (left, right) => Node::Equal { left: Box::new(left), right: Box::new(right), negated },
    }
}

fn within(left: Node, right: Node) -> Node {
    if let Node::Constant(Value::List(values)) = &right
        && !matches!(left, Node::Constant(_))
        && let Some(texts) =
            values.iter().map(|value| value.as_text().map(Arc::from)).collect::<Option<Vec<_>>>()
    {
        let texts: BTreeSet<Arc<str>> = texts.into_iter().collect();
        return Node::InTexts { left: Box::new(left), texts: texts.into_iter().collect() };
    }
    Node::In { left: Box::new(left), right: Box::new(right) }
}

/// A pattern that is written there is compiled, and refused if it is wrong; one that a function makes is, too, but then
/// a mistake shows when it is run.
fn matches(left: Node, right: Node, written: &Tree) -> Made {
    let left = Box::new(left);
    let text = match right {
        Node::Constant(Value::Text(text)) => text,
        Node::Constant(other) => {
            let message = format!("a pattern that is {}", other.kind());
            return Err(Mistake::new(written.at, message, "write it as a text"));
        }
        other => return Ok(Node::LateMatches { left, right: Box::new(other) }),
    };
    match Pattern::new(&text) {
        Err(problem) if matches!(written.kind, Kind::Constant(_)) => {
            let help = "patterns are those of Go's regexp; in quotes a backslash is written twice";
            Err(Mistake::new(written.at, problem.to_string(), help))
        }
        pattern => Ok(Node::Matches { left, pattern: pattern.map(Box::new) }),
    }
}

impl Node {
    /// Whether its value can be computed now: all it consists of is constant.
    fn is_constant(&self) -> bool {
        let constant = |node: &Self| matches!(node, Self::Constant(_));
        match self {
            Self::Call { function, arguments } => function.is_pure() && arguments.iter().all(constant),
            Self::List(parts) => parts.iter().all(constant),
            Self::Map(pairs) => pairs.iter().all(|(key, value)| constant(key) && constant(value)),
            Self::Order { operands, .. } => operands.iter().all(constant),
            Self::Arithmetic { operator: Arithmetic::Range, .. } => false,
            Self::Arithmetic { left, right, .. }
            | Self::Equal { left, right, .. }
            | Self::In { left, right }
            | Self::Search { left, right, .. } => constant(left) && constant(right),
            Self::Sign { of, .. } | Self::Not(of) => constant(of),
            Self::Constant(_)
            | Self::Path(_)
            | Self::HasRoot(_)
            | Self::Variable(_)
            | Self::Element
            | Self::Index
            | Self::Accumulator
            | Self::Member { .. }
            | Self::Item { .. }
            | Self::Slice { .. }
            | Self::Chain(_)
            | Self::Method { .. }
            | Self::Ask { .. }
            | Self::Store { .. }
            | Self::Each { .. }
            | Self::EqualText { .. }
            | Self::InTexts { .. }
            | Self::Matches { .. }
            | Self::LateMatches { .. }
            | Self::All(_)
            | Self::Any(_)
            | Self::Conditional(_)
            | Self::Coalesce { .. }
            | Self::Let { .. }
            | Self::Sequence(_) => false,
        }
    }
}
