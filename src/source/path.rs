//! Names of values inside nested JSON: `side_a.id`, `events[0].slug`.

use super::cell::{Cell, RawMembers, cell_of};
use serde_json::value::RawValue;

/// One step into a nested value.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// To the member of this name.
    Member(String),
    /// To the item at this place, from 0.
    Item(usize),
}

/// The way from a row to a value inside of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    /// The name as it is written.
    pub(crate) name: String,
    /// The row's own field that it goes through.
    pub(crate) field: String,
    steps: Vec<Step>,
}

impl Path {
    /// Reads a name; nothing where it is only the name of a field.
    pub(crate) fn of_name(name: &str) -> Option<Path> {
        let (field, mut rest) = name.split_at(name.find(['.', '['])?);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let step;
            (step, rest) = if let Some(after) = rest.strip_prefix('.') {
                let (member, after) = after.split_at(after.find(['.', '[']).unwrap_or(after.len()));
                (Step::Member(member.to_string()), after)
            } else {
                let (place, after) = rest.strip_prefix('[')?.split_once(']')?;
                (Step::Item(place.parse().ok()?), after)
            };
            if step == Step::Member(String::new()) {
                return None;
            }
            steps.push(step);
        }
        (!field.is_empty()).then(|| Path { name: name.to_string(), field: field.to_string(), steps })
    }

    /// What the path leads to in the text of a nested value; nothing where it leads nowhere.
    pub(crate) fn find<'a>(&self, text: &'a str) -> Option<Cell<'a>> {
        let mut text = text;
        for step in &self.steps {
            text = match step {
                Step::Item(place) => serde_json::from_str::<Vec<&RawValue>>(text).ok()?.get(*place)?.get(),
                Step::Member(name) => {
                    let members = serde_json::from_str::<RawMembers<'_>>(text).ok()?.0;
                    members.into_iter().rev().find(|(known, _)| known == name)?.1
                }
            };
        }
        cell_of(text).ok()
    }
}
