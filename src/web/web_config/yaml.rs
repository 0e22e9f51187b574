//! YAML as a tree that knows where everything stands.
//!
//! The parser hands over events; they are put together here without any recursion, and an alias
//! shares what its anchor names instead of copying it. So a file takes no more memory than a small
//! multiple of its size, whatever it refers to.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

/// What is nested deeper is no web configuration.
const DEEPEST: usize = 16;

/// Line and column, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    fn of(marker: &Marker) -> Place {
        Place { line: marker.line(), column: marker.col() + 1 }
    }
}

/// A value and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// A text, and whether it stands without quotes, so that it may be a number, a boolean or null.
    Scalar(String, bool),
    List(Vec<Rc<Node>>),
    /// In the order of the file, with whatever keys there are.
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    /// Whether it says nothing: `key:` or `key: null`.
    pub(crate) fn is_null(&self) -> bool {
        let nulls = ["", "~", "null", "Null", "NULL"];
        matches!(&self.value, Value::Scalar(text, true) if nulls.contains(&text.as_str()))
    }
}

/// Why a text is no YAML, or none that can be used here.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// A list or map that has not ended yet.
struct Open {
    anchor: usize,
    place: Place,
    value: Value,
    /// A map's key that has no value yet.
    key: Option<Rc<Node>>,
}

/// The tree of the one document in `text`; none if there is nothing in it.
pub(crate) fn parse(text: &str) -> Result<Option<Rc<Node>>, Broken> {
    let (mut tree, end) = (Tree::default(), end_of(text));
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| broken(&error, end))?;
        tree.take(event, Place::of(&span.start).min(end))?;
    }
    Ok(tree.root)
}

fn broken(error: &ScanError, end: Place) -> Broken {
    let message = format!("not valid YAML: {}", error.info());
    Broken { place: Place::of(error.marker()).min(end), message }
}

/// Right behind the last character. The parser goes on to another line if the last one does not end.
fn end_of(text: &str) -> Place {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']);
    let last = lines.next_back().unwrap_or_default().chars().count();
    Place { line: lines.count() + 1, column: last + 1 }
}

#[derive(Default)]
struct Tree {
    root: Option<Rc<Node>>,
    documents: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Broken> {
        let refuse = |message: &str| Err(Broken { place, message: message.to_owned() });
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return refuse("only one YAML document is read; take out what follows `---`");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                known(tag.as_deref(), place)?;
                let value = Value::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                self.add(Node { place, value }, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                known(tag.as_deref(), place)?;
                self.enter(anchor, place, Value::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                known(tag.as_deref(), place)?;
                self.enter(anchor, place, Value::Map(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, place, value, .. }) = self.open.pop() {
                    self.add(Node { place, value }, anchor);
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                // A list or map that is not complete is in itself.
                None => return refuse("an alias must not stand in what it refers to"),
                Some(node) => self.attach(node),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn enter(&mut self, anchor: usize, place: Place, value: Value) -> Result<(), Broken> {
        if self.open.len() == DEEPEST {
            return Err(Broken { place, message: "is nested too deeply".into() });
        }
        self.open.push(Open { anchor, place, value, key: None });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node);
    }

    /// Puts a node where it belongs: into what is open, or at the top.
    fn attach(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { value: Value::Map(pairs), key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
            Some(Open { value: Value::List(items), .. }) => items.push(node),
            // Only lists and maps are ever open.
            Some(Open { value: Value::Scalar(..), .. }) => {}
        }
    }
}

/// The tags that say what is clear without them. Any other asks for what is not done here.
fn known(tag: Option<&Tag>, place: Place) -> Result<(), Broken> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Broken { place, message: "tags are not supported here".into() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        let at = format!("{}:{}", node.place.line, node.place.column);
        match &node.value {
            Value::Scalar(text, _) => format!("{text}@{at}"),
            Value::List(items) => {
                format!("[{}]", items.iter().map(|n| shown(n)).collect::<Vec<_>>().join(" "))
            }
            Value::Map(pairs) => {
                let pairs = pairs.iter().map(|(k, v)| format!("{}={}", shown(k), shown(v)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn everything_knows_its_place() {
        let text = "# c\na: 1\nb:\n  - x\n  - \"ü\": [y, z]\nc: |\n  line\n";
        let tree = parse(text).unwrap().unwrap();
        assert_eq!(
            shown(&tree),
            "{a@2:1=1@2:4 b@3:1=[x@4:5 {ü@5:5=[y@5:11 z@5:14]}] c@6:1=line\n@7:3}"
        );
        // What nothing stands for is where the text ends, be it without a newline.
        assert_eq!(shown(&parse("b:\n? ").unwrap().unwrap()), "{b@1:1=@1:2 @2:3=@2:3}");
        assert!(parse("").unwrap().is_none());
        assert!(parse("# nothing\n").unwrap().is_none());
    }

    #[test]
    fn an_alias_shares_and_a_bomb_does_not_go_off() {
        let tree = parse("a: &x [1]\nb: *x\n").unwrap().unwrap();
        assert_eq!(shown(&tree), "{a@1:1=[1@1:8] b@2:1=[1@1:8]}");
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..40 {
            let before = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
        }
        assert!(parse(&bomb).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(100_000)).is_err());
        for (text, place, words) in [
            ("a: [1\nb: 2\n", (2, 2), "not valid YAML"),
            ("a: \"x\n", (1, 4), "not valid YAML"),
            ("a: 1\n---\nb: 2\n", (2, 1), "only one YAML document"),
            ("a: !secret x\n", (1, 4), "tags"),
            ("a: *nobody\n", (1, 4), "not valid YAML"),
            ("a: &x [*x]\n", (1, 8), "alias"),
            ("a: 1\r\nüb", (2, 3), "not valid YAML"),
            (&nested(20), (1, 17), "too deeply"),
        ] {
            let broken = parse(text).unwrap_err();
            let (at, said) = ((broken.place.line, broken.place.column), &broken.message);
            assert!(said.contains(words), "{said}");
            assert_eq!(at, place, "{}: {said}", text.get(..20).unwrap_or(text));
        }
    }
}
