//! Parses YAML.
//!
//! The tree is built without recursion, and an alias shares the node of its anchor. Memory use is
//! therefore proportional to the size of the file.

use std::{
    collections::{HashMap, btree_map::Entry},
    rc::Rc,
};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{
    problem::Problems,
    tree::{Entries, Node, Value},
};

/// No configuration is nested deeper.
const MAX_DEPTH: usize = 16;

/// A list or table whose end has not been parsed.
struct Open {
    anchor: usize,
    offset: usize,
    value: Value,
    /// In a table, the key whose value has not been parsed.
    key: Option<Rc<Node>>,
}

/// The root of the single document; none if the document is empty or not valid YAML. All line
/// breaks in `text` must be `\n`.
pub(crate) fn parse(text: &str, problems: &Problems) -> Option<Rc<Node>> {
    let offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).collect();
    // The parser can report positions beyond the end.
    let offset = |char: usize| offsets.get(char).copied().unwrap_or(text.len());
    let (root, open, anchors) = (None, Vec::new(), HashMap::new());
    let mut tree = Tree { problems, root, documents: 0, open, anchors };
    for event in Parser::new_from_str(text) {
        let (offset, result) = match event {
            Ok((event, span)) => {
                let offset = offset(span.start.index());
                (offset, tree.handle(event, offset).map_err(str::to_owned))
            }
            Err(error) => {
                let message = format!("not valid YAML: {}", error.info());
                (offset(error.marker().index()), Err(message))
            }
        };
        if let Err(message) = result {
            problems.add_syntax_error(offset, message);
            return None;
        }
    }
    tree.root
}

struct Tree<'p> {
    problems: &'p Problems,
    root: Option<Rc<Node>>,
    documents: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl Tree<'_> {
    fn handle(&mut self, event: Event<'_>, offset: usize) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("only one YAML document is supported; remove it from `---`");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref())?;
                let text = text.into_owned();
                let is_plain = style == ScalarStyle::Plain;
                let value = if is_plain { Value::Plain(text) } else { Value::String(text) };
                self.add(Node { offset, value }, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.open(anchor, offset, Value::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref())?;
                self.open(anchor, offset, Value::Table(Entries::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, offset, value, .. }) = self.open.pop() {
                    self.add(Node { offset, value }, anchor);
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                // The anchor of a list or table is known only after its end.
                None => return Err("an alias must not be inside the node that it refers to"),
                Some(node) => self.attach(node),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, offset: usize, value: Value) -> Result<(), &'static str> {
        if self.open.len() == MAX_DEPTH {
            return Err("is nested too deeply");
        }
        self.open.push(Open { anchor, offset, value, key: None });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node);
    }

    /// Adds a node to the innermost open list or table, or as the root.
    fn attach(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { value: Value::Table(entries), key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(key) => {
                    if let Err(message) = insert(entries, &key, node) {
                        self.problems.add_syntax_error(key.offset, message.into());
                    }
                }
            },
            Some(Open { value: Value::List(items), .. }) => items.push(node),
            // Only lists and tables are ever open.
            Some(_) => {}
        }
    }
}

fn insert(entries: &mut Entries, key: &Node, value: Rc<Node>) -> Result<(), &'static str> {
    let (Value::String(name) | Value::Plain(name)) = &key.value else {
        return Err("a key must be a string");
    };
    if name == "<<" {
        return Err("merge keys (<<) are not supported");
    }
    match entries.entry(name.clone()) {
        Entry::Vacant(entry) => _ = entry.insert((key.offset, value)),
        Entry::Occupied(_) => return Err("duplicate key"),
    }
    Ok(())
}

/// The core schema's tags change nothing here. Others are not supported.
fn check_tag(tag: Option<&Tag>) -> Result<(), &'static str> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err("tags are not supported"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree with the offset of each node, or the problems.
    fn parse(text: &str) -> Result<String, String> {
        let problems = Problems::default();
        let tree = super::parse(text, &problems);
        problems.into_result(text, "f").map_err(|error| error.to_string())?;
        Ok(tree.map(|tree| render(&tree)).unwrap_or_default())
    }

    fn render(node: &Node) -> String {
        let offset = node.offset;
        match &node.value {
            Value::List(items) => {
                format!("[{}]", items.iter().map(|n| render(n)).collect::<Vec<_>>().join(" "))
            }
            Value::Table(entries) => {
                let entries = entries.iter().map(|(k, (at, v))| format!("{k}@{at}={}", render(v)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
            text => format!("{}@{offset}", text.string().unwrap_or_default()),
        }
    }

    #[test]
    fn reports_offsets() {
        let text = "# c\na: 1\nb:\n  - x\n  - \"ü\": [y, z]\nc: |\n  line\n";
        assert_eq!(parse(text).unwrap(), "{a@4=1@7 b@9=[x@16 {ü@22=[y@29 z@32]}] c@35=line\n@42}");
        // A missing value is at the end of the text.
        assert_eq!(parse("b:\n? ").unwrap(), "{@5=@5 b@0=@1}");
        assert_eq!(parse("").unwrap(), "");
        assert_eq!(parse("# nothing\n").unwrap(), "");
    }

    #[test]
    fn aliases_share_nodes_even_in_an_alias_bomb() {
        assert_eq!(parse("a: &x [1]\nb: *x\n").unwrap(), "{a@0=[1@7] b@10=[1@7]}");
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..40 {
            let before = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
        }
        assert!(super::parse(&bomb, &Problems::default()).is_some());
    }

    #[test]
    fn rejects_unsupported_yaml_with_position() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(100_000)).is_err());
        for (text, expected) in [
            ("a: [1\nb: 2\n", "f:2:2: not valid YAML"),
            ("a: \"x\n", "f:1:4: not valid YAML"),
            ("a: 1\n---\nb: 2\n", "f:2:1: only one YAML document"),
            ("a: !secret x\n", "f:1:4: tags"),
            ("a: *unknown\n", "f:1:4: not valid YAML"),
            ("a: &x [*x]\n", "f:1:8: an alias"),
            ("a: 1\nüb", "f:2:3: not valid YAML"),
            (&nested(20), "f:1:17: is nested too deeply"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
