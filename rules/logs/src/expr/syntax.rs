//! Tokens to a tree, with the precedences of expr-lang.

use super::lexer::{Placed, Token, tokens};
use super::limits::{MAX_EXPRESSION, MAX_HEIGHT, MAX_NESTING};
use super::{Mistake, Value};

/// A node of an expression as it was written.
#[derive(Debug)]
pub(super) struct Tree {
    /// Where it stands, in bytes.
    pub(super) at: usize,
    pub(super) kind: Kind,
    height: usize,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Constant(Value),
    Name(String),
    /// `#`, `#index`, `#acc`
    Pointer(String),
    /// `base.key`, `base[key]`, `base?.key`
    Member {
        base: Box<Tree>,
        key: Box<Tree>,
        optional: bool,
    },
    Slice {
        base: Box<Tree>,
        from: Option<Box<Tree>>,
        to: Option<Box<Tree>>,
    },
    Method {
        base: Box<Tree>,
        name: String,
        optional: bool,
        arguments: Vec<Tree>,
    },
    Call {
        name: String,
        arguments: Vec<Tree>,
    },
    /// `any(list, { … }, more)`
    Each {
        name: String,
        list: Box<Tree>,
        closure: Option<Box<Tree>>,
        more: Option<Box<Tree>>,
    },
    Not(Box<Tree>),
    Sign {
        negative: bool,
        of: Box<Tree>,
    },
    Binary {
        operator: &'static str,
        left: Box<Tree>,
        right: Box<Tree>,
    },
    /// `a < b <= c`
    Orders {
        operands: Vec<Tree>,
        operators: Vec<&'static str>,
    },
    /// `and` (or else `or`) of all of these.
    Logic {
        and: bool,
        parts: Vec<Tree>,
    },
    /// `base?.a.b`: nil as a whole where the optional part is nil.
    Chain(Box<Tree>),
    Conditional(Box<[Tree; 3]>),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Let {
        name: String,
        value: Box<Tree>,
        body: Box<Tree>,
    },
    Sequence(Vec<Tree>),
}

/// Functions whose second argument is run for each element: its names, and whether it may be left out.
const EACH: [(&str, bool, bool); 15] = [
    ("all", false, false),
    ("none", false, false),
    ("any", false, false),
    ("one", false, false),
    ("filter", false, false),
    ("map", false, false),
    ("count", true, false),
    ("sum", true, false),
    ("find", false, false),
    ("findIndex", false, false),
    ("findLast", false, false),
    ("findLastIndex", false, false),
    ("groupBy", false, false),
    ("sortBy", false, true),
    ("reduce", false, true),
];

/// Precedence of a binary operator; the higher binds the tighter.
fn precedence(operator: &str) -> Option<u16> {
    Some(match operator {
        "|" => 0,
        "or" | "||" => 10,
        "and" | "&&" => 15,
        "==" | "!=" | "<" | ">" | ">=" | "<=" | "in" | "matches" | "contains" | "startsWith" | "endsWith" => {
            20
        }
        ".." => 25,
        "+" | "-" => 30,
        "*" | "/" | "%" => 60,
        "**" | "^" => 100,
        "??" => 500,
        _ => return None,
    })
}

fn takes_not(operator: &str) -> bool {
    matches!(operator, "in" | "matches" | "contains" | "startsWith" | "endsWith")
}

fn is_order(operator: &str) -> bool {
    matches!(operator, "<" | ">" | ">=" | "<=")
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Tree, Mistake> {
    if text.len() > MAX_EXPRESSION {
        let message = format!("an expression of {} bytes", text.len());
        return Err(Mistake::new(0, message, format!("at most {MAX_EXPRESSION} are read; split it")));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens, at: 0, nesting: 0, closures: 0 };
    let tree = parser.sequence()?;
    match parser.token() {
        Token::End => Ok(tree),
        _ => Err(parser.unexpected("an operator such as `&&`, or the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Placed>,
    at: usize,
    nesting: usize,
    closures: usize,
}

type Parsed = Result<Tree, Mistake>;

impl Parser<'_> {
    fn placed(&self) -> &Placed {
        // The last token is the end and is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn token(&self) -> &Token {
        &self.placed().token
    }

    fn start(&self) -> usize {
        self.placed().start
    }

    fn source(&self) -> &str {
        let placed = self.placed();
        self.text.get(placed.start..placed.end).unwrap_or("")
    }

    fn step(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token(), Token::Symbol(found) if *found == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.is(symbol);
        if found {
            self.step();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Mistake> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Mistake {
        let found = match self.token() {
            Token::End => "the expression ends too early".to_owned(),
            _ => format!("`{}` is not expected here", self.source()),
        };
        Mistake::new(self.start(), found, format!("{wanted} is"))
    }

    fn name(&mut self) -> Result<String, Mistake> {
        if *self.token() != Token::Name {
            return Err(self.unexpected("a name"));
        }
        let name = self.source().to_owned();
        self.step();
        Ok(name)
    }

    fn tree(&self, at: usize, kind: Kind) -> Parsed {
        let height = 1 + kind.children().map(|child| child.height).max().unwrap_or(0);
        if height > MAX_HEIGHT {
            let help = format!("at most {MAX_HEIGHT} are possible; split the expression");
            return Err(Mistake::new(at, "too many operations on top of each other", help));
        }
        Ok(Tree { at, kind, height })
    }

    fn nested(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.nesting == MAX_NESTING {
            let help = format!("at most {MAX_NESTING} are possible; split the expression");
            return Err(Mistake::new(self.start(), "too many things inside each other", help));
        }
        self.nesting += 1;
        let tree = parse(self);
        self.nesting -= 1;
        tree
    }

    /// `a; b; c`: the value of the last.
    fn sequence(&mut self) -> Parsed {
        let at = self.start();
        let first = self.expression(0)?;
        if !self.is(";") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take(";") {
            if *self.token() == Token::End || self.is(")") || self.is("}") {
                break;
            }
            parts.push(self.expression(0)?);
        }
        self.tree(at, Kind::Sequence(parts))
    }

    fn expression(&mut self, lowest: u16) -> Parsed {
        self.nested(|parser| match parser.token() {
            Token::Symbol("let") if lowest == 0 => parser.variable(),
            Token::Symbol("if") if lowest == 0 => parser.condition(),
            _ => parser.operations(lowest),
        })
    }

    fn variable(&mut self) -> Parsed {
        self.step();
        let at = self.start();
        let name = self.name()?;
        self.expect("=")?;
        let value = Box::new(self.expression(0)?);
        self.expect(";")?;
        let body = Box::new(self.sequence()?);
        self.tree(at, Kind::Let { name, value, body })
    }

    fn condition(&mut self) -> Parsed {
        let at = self.start();
        self.expect("if")?;
        let condition = self.expression(0)?;
        self.expect("{")?;
        let then = self.sequence()?;
        self.expect("}")?;
        self.expect("else")?;
        let otherwise = if self.is("if") {
            self.nested(Self::condition)?
        } else {
            self.expect("{")?;
            let otherwise = self.sequence()?;
            self.expect("}")?;
            otherwise
        };
        self.tree(at, Kind::Conditional(Box::new([condition, then, otherwise])))
    }

    fn operations(&mut self, lowest: u16) -> Parsed {
        let mut left = self.primary()?;
        let mut before = "";
        while let Token::Symbol(symbol) = *self.token() {
            let at = self.start();
            let back = self.at;
            let negated = symbol == "not";
            if negated {
                self.step();
            }
            let operator = match *self.token() {
                Token::Symbol(operator) if !negated || takes_not(operator) => operator,
                _ => {
                    return Err(self
                        .unexpected("`in`, `matches`, `contains`, `startsWith` or `endsWith` behind `not`"));
                }
            };
            let Some(own) = precedence(operator).filter(|own| *own >= lowest) else {
                self.at = back;
                break;
            };
            self.step();
            if operator == "|" {
                let at = self.start();
                let name = self.name()?;
                left = self.call(at, name, Some(left))?;
                before = operator;
                continue;
            }
            if before == "??" && operator != "??" {
                let help = "put one of both into brackets";
                return Err(Mistake::new(at, format!("`??` and `{operator}` stand side by side"), help));
            }
            left = self.operation(at, left, operator, own)?;
            if negated {
                left = self.tree(at, Kind::Not(Box::new(left)))?;
            }
            before = operator;
        }
        if lowest == 0 {
            while self.is("?") {
                let at = self.start();
                self.step();
                // `a ?: b`: what is in front is true there, or it would be no condition.
                let then = if self.is(":") {
                    self.tree(at, Kind::Constant(Value::Bool(true)))?
                } else {
                    self.expression(0)?
                };
                self.expect(":")?;
                let otherwise = self.expression(0)?;
                left = self.tree(at, Kind::Conditional(Box::new([left, then, otherwise])))?;
            }
        }
        Ok(left)
    }

    /// The right side of an operator, and both sides together.
    fn operation(&mut self, at: usize, left: Tree, operator: &'static str, own: u16) -> Parsed {
        let power = matches!(operator, "**" | "^");
        let right = self.expression(if power { own } else { own + 1 })?;
        let and = match operator {
            "and" | "&&" => true,
            "or" | "||" => false,
            _ if is_order(operator) => return self.orders(at, left, operator, right, own),
            _ => {
                return self
                    .tree(at, Kind::Binary { operator, left: Box::new(left), right: Box::new(right) });
            }
        };
        match left.kind {
            // A list instead of a tower, however long it is.
            Kind::Logic { and: same, mut parts } if same == and => {
                parts.push(right);
                self.tree(left.at, Kind::Logic { and, parts })
            }
            kind => {
                let left = Tree { at: left.at, kind, height: left.height };
                self.tree(at, Kind::Logic { and, parts: vec![left, right] })
            }
        }
    }

    /// `1 < x <= 3` is `1 < x and x <= 3`.
    fn orders(&mut self, at: usize, left: Tree, operator: &'static str, right: Tree, own: u16) -> Parsed {
        let (mut operands, mut operators) = (vec![left, right], vec![operator]);
        while let Token::Symbol(operator) = *self.token()
            && is_order(operator)
        {
            self.step();
            operands.push(self.expression(own + 1)?);
            operators.push(operator);
        }
        self.tree(at, Kind::Orders { operands, operators })
    }

    fn primary(&mut self) -> Parsed {
        let at = self.start();
        if let Token::Symbol(symbol) = *self.token() {
            match symbol {
                "not" | "!" => {
                    self.step();
                    let of = Box::new(self.expression(50)?);
                    return self.tree(at, Kind::Not(of));
                }
                "-" | "+" => {
                    self.step();
                    let of = Box::new(self.expression(90)?);
                    let tree = self.tree(at, Kind::Sign { negative: symbol == "-", of })?;
                    return self.postfix(tree);
                }
                "(" => {
                    self.step();
                    let inner = self.nested(Self::sequence)?;
                    self.expect(")")?;
                    return self.postfix(inner);
                }
                "#" | "." => return self.pointer(),
                "::" => {
                    self.step();
                    let name = self.name()?;
                    let call = self.call(at, name, None)?;
                    return self.postfix(call);
                }
                "[" => {
                    let list = self.list()?;
                    return self.postfix(list);
                }
                "{" => {
                    let map = self.map()?;
                    return self.postfix(map);
                }
                _ => return Err(self.unexpected("a value")),
            }
        }
        let kind = match self.token().clone() {
            Token::Int(number) => Kind::Constant(Value::Int(number)),
            Token::Float(number) => Kind::Constant(Value::Float(number)),
            Token::Text(text) => Kind::Constant(Value::from(text)),
            Token::Name => {
                let name = self.name()?;
                let kind = match name.as_str() {
                    "true" => Kind::Constant(Value::Bool(true)),
                    "false" => Kind::Constant(Value::Bool(false)),
                    "nil" => Kind::Constant(Value::Nil),
                    _ if self.is("(") => {
                        let call = self.call(at, name, None)?;
                        return self.postfix(call);
                    }
                    _ => Kind::Name(name),
                };
                let tree = self.tree(at, kind)?;
                return self.postfix(tree);
            }
            Token::End | Token::Symbol(_) => return Err(self.unexpected("a value")),
        };
        self.step();
        let tree = self.tree(at, kind)?;
        self.postfix(tree)
    }

    /// `#`, `#acc`, or the `.` of `.field`, which stands for `#.field`.
    fn pointer(&mut self) -> Parsed {
        let at = self.start();
        if self.closures == 0 {
            let help = "they stand for the element inside `any(list, { … })` and the like";
            return Err(Mistake::new(at, format!("`{}` outside of such a call", self.source()), help));
        }
        let mut name = String::new();
        if self.take("#") && *self.token() == Token::Name && self.start() == at + 1 {
            name = self.name()?;
        }
        let tree = self.tree(at, Kind::Pointer(name))?;
        self.postfix(tree)
    }

    fn list(&mut self) -> Parsed {
        let at = self.start();
        self.expect("[")?;
        let mut parts = Vec::new();
        while !self.is("]") {
            if !parts.is_empty() {
                self.expect(",")?;
                if self.is("]") {
                    break;
                }
            }
            parts.push(self.expression(0)?);
        }
        self.expect("]")?;
        self.tree(at, Kind::List(parts))
    }

    fn map(&mut self) -> Parsed {
        let at = self.start();
        self.expect("{")?;
        let mut pairs = Vec::new();
        while !self.is("}") {
            if !pairs.is_empty() {
                self.expect(",")?;
                if self.is("}") {
                    break;
                }
            }
            let at = self.start();
            let key = match self.token().clone() {
                Token::Text(text) => Value::from(text),
                Token::Name | Token::Int(_) | Token::Float(_) => Value::text(self.source()),
                Token::Symbol("(") => {
                    let key = self.expression(0)?;
                    self.expect(":")?;
                    pairs.push((key, self.expression(0)?));
                    continue;
                }
                Token::Symbol(_) | Token::End => {
                    return Err(
                        self.unexpected("a key: a name, a text, a number, or an expression in brackets")
                    );
                }
            };
            self.step();
            self.expect(":")?;
            let key = self.tree(at, Kind::Constant(key))?;
            pairs.push((key, self.expression(0)?));
        }
        self.expect("}")?;
        self.tree(at, Kind::Map(pairs))
    }

    /// `name(…)`; `first` is what stood in front of a `|`.
    fn call(&mut self, at: usize, name: String, first: Option<Tree>) -> Parsed {
        if let Some((_, optional, more)) = EACH.iter().find(|(known, ..)| *known == name) {
            return self.each(at, name, first, *optional, *more);
        }
        let mut arguments: Vec<Tree> = first.into_iter().collect();
        arguments.extend(self.arguments()?);
        self.tree(at, Kind::Call { name, arguments })
    }

    fn arguments(&mut self) -> Result<Vec<Tree>, Mistake> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        while !self.is(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
                if self.is(")") {
                    break;
                }
            }
            arguments.push(self.expression(0)?);
        }
        self.expect(")")?;
        Ok(arguments)
    }

    fn each(
        &mut self,
        at: usize,
        name: String,
        first: Option<Tree>,
        optional: bool,
        takes_more: bool,
    ) -> Parsed {
        self.expect("(")?;
        let list = match first {
            Some(list) => list,
            None => {
                let list = self.expression(0)?;
                if !self.is(")") {
                    self.expect(",")?;
                }
                list
            }
        };
        let list = Box::new(list);
        let closure = if optional && self.is(")") { None } else { Some(Box::new(self.closure()?)) };
        let mut more = None;
        if self.take(",") && !self.is(")") {
            if !takes_more {
                return Err(self.unexpected("`)`"));
            }
            more = Some(Box::new(self.expression(0)?));
            self.take(",");
        }
        self.expect(")")?;
        self.tree(at, Kind::Each { name, list, closure, more })
    }

    /// `{ # > 2 }` or `# > 2`.
    fn closure(&mut self) -> Parsed {
        let braces = self.take("{");
        self.closures += 1;
        let body = if braces { self.nested(Self::sequence) } else { self.expression(0) };
        self.closures -= 1;
        let body = body?;
        if braces {
            self.expect("}")?;
        }
        Ok(body)
    }

    /// Fields, elements, slices and methods behind a value.
    fn postfix(&mut self, mut tree: Tree) -> Parsed {
        loop {
            let at = self.start();
            let optional = self.is("?.");
            if self.is(".") || optional {
                self.step();
                if optional && self.is("[") {
                    tree = self.element(at, tree, true)?;
                    continue;
                }
                tree = self.member(at, tree, optional)?;
            } else if self.is("[") {
                tree = self.element(at, tree, false)?;
            } else {
                return Ok(tree);
            }
        }
    }

    fn member(&mut self, at: usize, base: Tree, optional: bool) -> Parsed {
        let named = match self.token() {
            Token::Name => true,
            // `.matches` and the like are names of fields, too.
            Token::Symbol(symbol) => symbol.starts_with(char::is_alphabetic),
            Token::Int(_) | Token::Float(_) | Token::Text(_) | Token::End => false,
        };
        if !named {
            return Err(self.unexpected("the name of a field"));
        }
        let (name_at, name) = (self.start(), self.source().to_owned());
        self.step();
        let (base, chained) = unchained(base);
        let base = Box::new(base);
        let kind = if self.is("(") {
            Kind::Method { base, name, optional, arguments: self.arguments()? }
        } else {
            let key = Box::new(self.tree(name_at, Kind::Constant(Value::from(name)))?);
            Kind::Member { base, key, optional }
        };
        let member = self.tree(at, kind)?;
        if chained || optional { self.tree(at, Kind::Chain(Box::new(member))) } else { Ok(member) }
    }

    fn element(&mut self, at: usize, base: Tree, optional: bool) -> Parsed {
        self.expect("[")?;
        let (base, chained) = unchained(base);
        let base = Box::new(base);
        let from = if self.is(":") { None } else { Some(Box::new(self.expression(0)?)) };
        let kind = if self.take(":") {
            let to = if self.is("]") { None } else { Some(Box::new(self.expression(0)?)) };
            Kind::Slice { base, from, to }
        } else {
            match from {
                Some(key) => Kind::Member { base, key, optional },
                None => return Err(self.unexpected("an index")),
            }
        };
        self.expect("]")?;
        let tree = self.tree(at, kind)?;
        if chained || optional { self.tree(at, Kind::Chain(Box::new(tree))) } else { Ok(tree) }
    }
}

/// What a chain holds, so that it can go on.
fn unchained(tree: Tree) -> (Tree, bool) {
    match tree.kind {
        Kind::Chain(inner) => (*inner, true),
        kind => (Tree { at: tree.at, kind, height: tree.height }, false),
    }
}

impl Kind {
    fn children(&self) -> Box<dyn Iterator<Item = &Tree> + '_> {
        match self {
            Self::Constant(_) | Self::Name(_) | Self::Pointer(_) => Box::new(std::iter::empty()),
            Self::Member { base: a, key: b, .. } | Self::Binary { left: a, right: b, .. } => {
                Box::new([a, b].into_iter().map(AsRef::as_ref))
            }
            Self::Let { value: a, body: b, .. } => Box::new([a, b].into_iter().map(AsRef::as_ref)),
            Self::Slice { base, from, to } => {
                Box::new([Some(base), from.as_ref(), to.as_ref()].into_iter().flatten().map(AsRef::as_ref))
            }
            Self::Method { base, arguments, .. } => Box::new(std::iter::once(base.as_ref()).chain(arguments)),
            Self::Call { arguments: parts, .. }
            | Self::Logic { parts, .. }
            | Self::Orders { operands: parts, .. }
            | Self::List(parts)
            | Self::Sequence(parts) => Box::new(parts.iter()),
            Self::Each { list, closure, more, .. } => Box::new(
                [Some(list), closure.as_ref(), more.as_ref()].into_iter().flatten().map(AsRef::as_ref),
            ),
            Self::Not(of) | Self::Sign { of, .. } | Self::Chain(of) => Box::new(std::iter::once(of.as_ref())),
            Self::Conditional(parts) => Box::new(parts.iter()),
            Self::Map(pairs) => Box::new(pairs.iter().flat_map(|(key, value)| [key, value])),
        }
    }
}
