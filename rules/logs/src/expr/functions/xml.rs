//! Functions on XML, for the events of Windows: paths as Go's `etree` reads them.

use roxmltree::{Document, Node, ParsingOptions};

use super::super::limits::{MAX_ATTRIBUTES, MAX_ELEMENTS};
use super::{Function, Problem, Value, pure, text};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("XMLGetNodeValue", 2, 2, |arguments| {
        find(text(arguments, 0)?, text(arguments, 1)?, |found| Some(own_text(found)))
    }),
    pure("XMLGetAttributeValue", 3, 3, |arguments| {
        let name = text(arguments, 2)?;
        let local = name.rsplit(':').next().unwrap_or(name);
        find(text(arguments, 0)?, text(arguments, 1)?, |found| {
            found
                .attributes()
                .find(|attribute| attribute.name() == local)
                .map(|attribute| attribute.value().to_owned())
        })
    }),
];

/// What `value` makes of the element at a path; an empty text where there is none, or no XML.
fn find(xml: &str, path: &str, value: impl FnOnce(Node<'_, '_>) -> Option<String>) -> Result<Value, Problem> {
    let steps = compile(path)?;
    if !few_attributes(xml) {
        return Ok(Value::text(""));
    }
    // Without a DTD there are no entities that could grow.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_ELEMENTS, ..ParsingOptions::default() };
    let found = Document::parse_with_options(xml.trim_start(), options).ok().and_then(|document| {
        let mut left = STEPS;
        follow(document.root(), &steps, &mut left).and_then(value)
    });
    Ok(found.map_or_else(|| Value::text(""), Value::from))
}

/// Whether no element has too many attributes: each is compared with all before it.
fn few_attributes(xml: &str) -> bool {
    let (mut inside, mut quote, mut count) = (false, None, 0);
    for byte in xml.bytes() {
        match (inside, quote) {
            (false, _) if byte == b'<' => (inside, count) = (true, 0),
            (false, _) => {}
            (true, Some(open)) if byte == open => quote = None,
            (true, Some(_)) => {}
            (true, None) => match byte {
                b'"' | b'\'' => quote = Some(byte),
                b'>' => inside = false,
                b'=' => count += 1,
                _ => {}
            },
        }
        if count > MAX_ATTRIBUTES {
            return false;
        }
    }
    true
}

/// Elements that one path may look at.
const STEPS: usize = 50_000;

/// What stands in an element in front of the first element inside.
fn own_text(element: Node<'_, '_>) -> String {
    element
        .children()
        .take_while(|child| !child.is_element())
        .filter_map(|child| child.text().filter(|_| child.is_text()))
        .collect()
}

/// One step of a path.
#[derive(Debug)]
struct Step<'p> {
    select: Select<'p>,
    filters: Vec<Filter<'p>>,
}

#[derive(Clone, Copy, Debug)]
enum Select<'p> {
    Itself,
    Parent,
    Root,
    Descendants,
    Children(Option<&'p str>),
}

#[derive(Clone, Copy, Debug)]
enum Filter<'p> {
    /// From 1; negative from the end.
    Place(i64),
    Attribute(&'p str, Option<&'p str>),
    Child(&'p str, Option<&'p str>),
    Text(Option<&'p str>),
}

/// Without the prefix of its namespace.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn compile(path: &str) -> Result<Vec<Step<'_>>, Problem> {
    let wrong = || Problem::new(format!("`{path}` is no path to an element"));
    let mut steps = Vec::new();
    let mut rest = path;
    if rest.starts_with('/') {
        steps.push(Step { select: Select::Root, filters: Vec::new() });
        if !rest.starts_with("//") {
            rest = &rest[1..];
        }
    }
    loop {
        if let Some(behind) = rest.strip_prefix("//") {
            steps.push(Step { select: Select::Descendants, filters: Vec::new() });
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('/') {
            rest = behind;
        }
        let length = rest.find(['/', '[']).unwrap_or(rest.len());
        let (name, mut behind) = rest.split_at(length);
        let select = match name {
            "." => Select::Itself,
            ".." => Select::Parent,
            "*" => Select::Children(None),
            "" => return Err(wrong()),
            name => Select::Children(Some(local(name))),
        };
        let mut filters = Vec::new();
        while let Some(inner) = behind.strip_prefix('[') {
            let (filter, after) = filter(inner).ok_or_else(wrong)?;
            filters.push(filter);
            behind = after;
        }
        steps.push(Step { select, filters });
        rest = behind;
        if rest.is_empty() {
            return Ok(steps);
        }
        if !rest.starts_with('/') {
            return Err(wrong());
        }
    }
}

/// `1]`, `@Name]`, `@Name='x']`, `Child='x']`, `text()='x']`: the filter, and what stands behind.
fn filter(text: &str) -> Option<(Filter<'_>, &str)> {
    let quote = text.find(['\'', '"', ']'])?;
    let (key, rest) = text.split_at(quote);
    let (key, value, rest) = if let Some(rest) = rest.strip_prefix(']') {
        (key, None, rest)
    } else {
        let end = if rest.starts_with('\'') { "']" } else { "\"]" };
        let (value, behind) = rest[1..].split_once(end)?;
        (key.strip_suffix('=')?, Some(value), behind)
    };
    let filter = match key {
        "text()" => Filter::Text(value),
        key if value.is_none() && key.parse::<i64>().is_ok() => Filter::Place(key.parse().ok()?),
        key => match key.strip_prefix('@') {
            Some(name) => Filter::Attribute(local(name), value),
            None if key.is_empty() || key.contains('(') => return None,
            None => Filter::Child(local(key), value),
        },
    };
    Some((filter, rest))
}

/// The first element at the end of the steps.
fn follow<'a, 'i>(from: Node<'a, 'i>, steps: &[Step<'_>], left: &mut usize) -> Option<Node<'a, 'i>> {
    let mut found = vec![from];
    for step in steps {
        let mut next = Vec::new();
        for node in &found {
            let mut candidates: Vec<Node<'_, '_>> = match step.select {
                Select::Itself => vec![*node],
                Select::Parent => node.parent().into_iter().collect(),
                Select::Root => vec![node.document().root()],
                Select::Descendants => {
                    node.descendants().filter(|node| node.is_element() || node.is_root()).collect()
                }
                Select::Children(name) => {
                    let named =
                        |child: &Node<'_, '_>| name.is_none_or(|name| child.tag_name().name() == name);
                    node.children().filter(Node::is_element).filter(named).collect()
                }
            };
            for filter in &step.filters {
                candidates = kept(candidates, *filter);
            }
            *left = left.checked_sub(candidates.len() + 1)?;
            next.extend(candidates);
        }
        found = next;
    }
    found.into_iter().find(Node::is_element)
}

fn kept<'a, 'i>(candidates: Vec<Node<'a, 'i>>, filter: Filter<'_>) -> Vec<Node<'a, 'i>> {
    if let Filter::Place(place) = filter {
        let place = match place {
            0 => return Vec::new(),
            1.. => usize::try_from(place - 1).ok(),
            _ => {
                usize::try_from(place.unsigned_abs()).ok().and_then(|back| candidates.len().checked_sub(back))
            }
        };
        return place.and_then(|place| candidates.get(place)).copied().into_iter().collect();
    }
    let keeps = |node: &Node<'_, '_>| match filter {
        Filter::Place(_) => true,
        Filter::Attribute(name, value) => node.attributes().any(|attribute| {
            attribute.name() == name && value.is_none_or(|value| attribute.value() == value)
        }),
        Filter::Child(name, value) => node.children().any(|child| {
            child.tag_name().name() == name && value.is_none_or(|value| own_text(child) == value)
        }),
        Filter::Text(value) => {
            let text = own_text(*node);
            value.map_or(!text.is_empty(), |value| text == value)
        }
    };
    candidates.into_iter().filter(keeps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider \
        Name='Sec' Guid='{1}'/><EventID>4625</EventID></System><EventData><Data Name='IpAddress'>192.0.2.7</Data>\
        <Data Name='User'>a &amp; b</Data><Data>last</Data></EventData></Event>";

    fn value(path: &str) -> String {
        find(EVENT, path, |found| Some(own_text(found))).unwrap().to_string()
    }

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/Event/System[1]/EventID", "4625"),
            ("/Event/EventData[1]/Data[@Name='IpAddress']", "192.0.2.7"),
            ("/Event/EventData[1]/Data[@Name='User']", "a & b"),
            ("/Event/EventData/Data[3]", "last"),
            ("/Event/EventData/Data[-1]", "last"),
            ("//Data[2]", "a & b"),
            ("./Event/*/EventID", "4625"),
            ("/Event/System[EventID='4625']/EventID/../EventID[text()='4625']", "4625"),
            ("/Event/System[2]/EventID", ""),
            ("/Event/None", ""),
        ] {
            assert_eq!(value(path), expected, "{path}");
        }
        for wrong in ["", "/", "a[", "a[]", "a[@x='y]", "a/", "a[f()]"] {
            assert!(compile(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn documents_cannot_grow() {
        let bomb = "<!DOCTYPE a [<!ENTITY b 'cccc'>]><a>&b;</a>";
        assert_eq!(find(bomb, "/a", |found| Some(own_text(found))).unwrap(), Value::text(""));
        let wide = format!("<a {}>x</a>", (0..8_000).map(|n| format!("a{n}='' ")).collect::<String>());
        assert_eq!(find(&wide, "/a", |found| Some(own_text(found))).unwrap(), Value::text(""));
        let deep = "<a>".repeat(5_000) + &"</a>".repeat(5_000);
        assert_eq!(find(&deep, "//b", |found| Some(own_text(found))).unwrap(), Value::text(""));
    }
}
