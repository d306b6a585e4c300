//! What the evaluated arguments of a call must be, also where expressions compute them.

use muster_document::marks;
use serde_json::Value;

use crate::{Error, ErrorType, Function};

pub(super) fn check_call(function: Function, arguments: &Value) -> Result<(), Error> {
    match function {
        Function::Agent | Function::Tool | Function::Model | Function::Search => {
            inward(function, arguments)
        }
        Function::Template => {
            let which = if arguments.get("stage").is_some() { "/stage" } else { "/template" };
            text(function, arguments, which)?;
            map(function, arguments, "/vars")?;
            no_secrets(arguments, "the arguments of call: template")
        }
        Function::Http => {
            text(function, arguments, "/method")?;
            address(function, arguments, "/endpoint/uri")?;
            map(function, arguments, "/headers")?;
            map(function, arguments, "/query")
        }
        Function::Openapi => {
            address(function, arguments, "/document/endpoint/uri")?;
            text(function, arguments, "/operationId")?;
            map(function, arguments, "/parameters")
        }
        Function::Mcp => {
            map(function, arguments, "/parameters")?;
            if arguments.pointer("/transport/stdio").is_some() {
                return text(function, arguments, "/transport/stdio/command");
            }
            address(function, arguments, "/transport/http/endpoint/uri")
        }
        Function::A2a => {
            for place in ["/agentCard/endpoint/uri", "/server/uri"] {
                if arguments.pointer(place).is_some() {
                    address(function, arguments, place)?;
                }
            }
            map(function, arguments, "/parameters")
        }
        Function::Run => {
            if arguments.get("shell").is_some() {
                return text(function, arguments, "/shell/command");
            }
            match arguments.pointer("/script/source") {
                Some(_) => address(function, arguments, "/script/source/endpoint/uri"),
                None => text(function, arguments, "/script/code"),
            }
        }
    }
}

/// What is called must be named by a string; and nothing of ours may get a secret's mark, since
/// only requests to servers outside have it replaced.
fn inward(function: Function, arguments: &Value) -> Result<(), Error> {
    text(function, arguments, &format!("/{}", crate::definition::naming_argument(function)))?;
    no_secrets(arguments, &format!("the arguments of call: {}", function.name()))
}

/// Nothing but a request to a server outside gets a secret's mark.
pub(super) fn no_secrets(value: &Value, what: &str) -> Result<(), Error> {
    if !marks::is_marked(value) {
        return Ok(());
    }
    let detail = format!(
        "{what} hold a secret, but only calls of servers outside, such as call: http, can use \
         secrets"
    );
    Err(Error::new(ErrorType::Configuration, detail))
}

fn text(function: Function, arguments: &Value, pointer: &str) -> Result<(), Error> {
    match arguments.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(()),
        other if function == Function::Run => Err(wrong(function, pointer, "a text", other)),
        other => Err(wrong(function, pointer, "a name", other)),
    }
}

fn address(function: Function, arguments: &Value, pointer: &str) -> Result<(), Error> {
    let is_web = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    match arguments.pointer(pointer) {
        Some(Value::String(text)) if is_web(text) || marks::is_text_marked(text) => Ok(()),
        other => Err(wrong(function, pointer, "an address with https:// or http://", other)),
    }
}

fn map(function: Function, arguments: &Value, pointer: &str) -> Result<(), Error> {
    match arguments.pointer(pointer) {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        other => Err(wrong(function, pointer, "a map", other)),
    }
}

fn wrong(function: Function, pointer: &str, wanted: &str, given: Option<&Value>) -> Error {
    let given = given.unwrap_or(&Value::Null);
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let call = if function == Function::Run { "" } else { "call: " };
    let name = function.name();
    let detail = format!("`{field}` of {call}{name} must be {wanted}, not {given:.100}");
    Error::new(ErrorType::Expression, detail)
}
