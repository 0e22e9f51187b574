//! Parses YAML to a tree with positions.
//!
//! The tree is built without recursion, and an alias shares the node of its anchor. Memory use is
//! therefore proportional to the size of the file.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

/// No web configuration is nested deeper.
const MAX_DEPTH: usize = 16;

/// Line and column, counted from 1. The column is in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    fn of(marker: &Marker) -> Position {
        Position { line: marker.line(), column: marker.col() + 1 }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// The text, and whether it is unquoted and so can be a number, a boolean or null.
    Scalar(String, bool),
    List(Vec<Rc<Node>>),
    /// In the order of the file.
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        let nulls = ["", "~", "null", "Null", "NULL"];
        matches!(&self.value, Value::Scalar(text, true) if nulls.contains(&text.as_str()))
    }
}

#[derive(Debug)]
pub(super) struct ParseError {
    pub(super) position: Position,
    pub(super) message: String,
}

/// A list or map whose end has not been parsed.
struct Open {
    anchor: usize,
    position: Position,
    value: Value,
    /// A map's key whose value has not been parsed.
    key: Option<Rc<Node>>,
}

/// The root of the single document; none if the document is empty.
pub(super) fn parse(text: &str) -> Result<Option<Rc<Node>>, ParseError> {
    let (mut tree, end) = (Tree::default(), end_of(text));
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax_error(&error, end))?;
        tree.handle(event, Position::of(&span.start).min(end))?;
    }
    Ok(tree.root)
}

fn syntax_error(error: &ScanError, end: Position) -> ParseError {
    let message = format!("not valid YAML: {}", error.info());
    ParseError { position: Position::of(error.marker()).min(end), message }
}

/// The position after the last character. The parser can report positions beyond it.
fn end_of(text: &str) -> Position {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.split(['\n', '\r']);
    let last = lines.next_back().unwrap_or_default().chars().count();
    Position { line: lines.count() + 1, column: last + 1 }
}

#[derive(Default)]
struct Tree {
    root: Option<Rc<Node>>,
    documents: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl Tree {
    fn handle(&mut self, event: Event<'_>, position: Position) -> Result<(), ParseError> {
        let error = |message: &str| Err(ParseError { position, message: message.to_owned() });
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return error("only one YAML document is supported; remove it from `---`");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref(), position)?;
                let value = Value::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                self.add(Node { position, value }, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), position)?;
                self.open(anchor, position, Value::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), position)?;
                self.open(anchor, position, Value::Map(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, position, value, .. }) = self.open.pop() {
                    self.add(Node { position, value }, anchor);
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                // The anchor of a list or map is known only after its end.
                None => return error("an alias must not be inside the node that it refers to"),
                Some(node) => self.attach(node),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, position: Position, value: Value) -> Result<(), ParseError> {
        if self.open.len() == MAX_DEPTH {
            return Err(ParseError { position, message: "is nested too deeply".into() });
        }
        self.open.push(Open { anchor, position, value, key: None });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node);
    }

    /// Adds a node to the innermost open list or map, or as the root.
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

/// The core schema's tags change nothing here. Others are not supported.
fn check_tag(tag: Option<&Tag>, position: Position) -> Result<(), ParseError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(ParseError { position, message: "tags are not supported".into() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(node: &Node) -> String {
        let at = format!("{}:{}", node.position.line, node.position.column);
        match &node.value {
            Value::Scalar(text, _) => format!("{text}@{at}"),
            Value::List(items) => {
                format!("[{}]", items.iter().map(|n| render(n)).collect::<Vec<_>>().join(" "))
            }
            Value::Map(pairs) => {
                let pairs = pairs.iter().map(|(k, v)| format!("{}={}", render(k), render(v)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn reports_positions() {
        let text = "# c\na: 1\nb:\n  - x\n  - \"ü\": [y, z]\nc: |\n  line\n";
        let tree = parse(text).unwrap().unwrap();
        assert_eq!(
            render(&tree),
            "{a@2:1=1@2:4 b@3:1=[x@4:5 {ü@5:5=[y@5:11 z@5:14]}] c@6:1=line\n@7:3}"
        );
        // A missing value is at the end of the text.
        assert_eq!(render(&parse("b:\n? ").unwrap().unwrap()), "{b@1:1=@1:2 @2:3=@2:3}");
        assert!(parse("").unwrap().is_none());
        assert!(parse("# nothing\n").unwrap().is_none());
    }

    #[test]
    fn aliases_share_nodes_even_in_an_alias_bomb() {
        let tree = parse("a: &x [1]\nb: *x\n").unwrap().unwrap();
        assert_eq!(render(&tree), "{a@1:1=[1@1:8] b@2:1=[1@1:8]}");
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..40 {
            let before = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
        }
        assert!(parse(&bomb).is_ok());
    }

    #[test]
    fn rejects_unsupported_yaml_with_position() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(100_000)).is_err());
        for (text, at, expected) in [
            ("a: [1\nb: 2\n", (2, 2), "not valid YAML"),
            ("a: \"x\n", (1, 4), "not valid YAML"),
            ("a: 1\n---\nb: 2\n", (2, 1), "only one YAML document"),
            ("a: !secret x\n", (1, 4), "tags"),
            ("a: *unknown\n", (1, 4), "not valid YAML"),
            ("a: &x [*x]\n", (1, 8), "alias"),
            ("a: 1\r\nüb", (2, 3), "not valid YAML"),
            (&nested(20), (1, 17), "too deeply"),
        ] {
            let ParseError { position, message } = parse(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
            assert_eq!((position.line, position.column), at, "{message}");
        }
    }
}
