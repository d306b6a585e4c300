//! `use.secrets`: the names of the secrets that a workflow may use.

use serde_json::Value;

use super::{Object, Parser, is};

/// Bytes of a secret's name at most: it is that of a file.
const NAME_BYTES: usize = 253;

/// The names that a document declares, the right ones among them.
pub(super) fn declared(root: &Object) -> Vec<String> {
    let names = root.get("use").and_then(|map| map.get("secrets")).and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    names.filter(|name| is_name(name)).map(str::to_owned).collect()
}

impl Parser<'_> {
    pub(super) fn declared_secrets(&mut self, value: &Value, pointer: &str) {
        let Some(names) = value.as_array() else {
            let message = format!("`secrets` must be a list of names, not {}", is(value));
            return self.problem(pointer, message);
        };
        for (index, name) in names.iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            match name.as_str().filter(|name| is_name(name)) {
                None => self.problem(
                    pointer,
                    format!(
                        "{} is no name of a secret: 1 to {NAME_BYTES} letters, digits, `.`, `_` \
                         and `-`, not beginning with `.`",
                        is(name)
                    ),
                ),
                Some(name) => {
                    if self.references.secrets.insert(name.to_owned(), pointer.clone()).is_some() {
                        self.problem(pointer, format!("the secret `{name}` stands twice"));
                    }
                }
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
