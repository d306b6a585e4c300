//! Reading the bodies of OpenAI's clients.

use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::wire::openai::Refusal;

/// The body as what it must be; an error names the parameter as OpenAI does.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        // Read again for the place: the good way need not keep track of it.
        let place = serde_path_to_error::deserialize::<_, T>(
            &mut serde_json::Deserializer::from_slice(body),
        )
        .err();
        let path = place.map(|error| error.path().to_string()).filter(|path| path != ".");
        Error::Refused(refusal(&error, path))
    })
}

fn refusal(error: &serde_json::Error, path: Option<String>) -> Refusal {
    let text = error.to_string();
    if !error.is_data() {
        let message = format!("We could not parse the JSON body of your request: {text}.");
        return Refusal { message, param: None, code: None };
    }
    let quoted = |start: &str| text.strip_prefix(start)?.split('`').next().map(str::to_owned);
    if let Some(name) = quoted("unknown field `") {
        let message = format!("Unknown parameter: '{name}'.");
        return Refusal { message, param: Some(name), code: Some("unknown_parameter") };
    }
    if let Some(name) = quoted("missing field `") {
        let name = match path {
            Some(path) if path != name => format!("{path}.{name}"),
            _ => name,
        };
        let message = format!("Missing required parameter: '{name}'.");
        return Refusal { message, param: Some(name), code: Some("missing_required_parameter") };
    }
    let message = match &path {
        Some(path) => format!("Invalid type for '{path}': {text}."),
        None => format!("The body does not fit: {text}."),
    };
    Refusal { message, param: path, code: Some("invalid_type") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::openai::{ChatRequest, ResponsesRequest};

    #[test]
    fn a_wrong_body_names_the_parameter() {
        let check = |body: &str, param: Option<&str>, code: Option<&str>| {
            let Err(Error::Refused(refusal)) = parse::<ChatRequest>(body.as_bytes()) else {
                panic!("{body} was taken");
            };
            assert_eq!((refusal.param.as_deref(), refusal.code), (param, code), "{refusal:?}");
        };
        check("{", None, None);
        check("[]", None, Some("invalid_type"));
        check(r#"{"messages": []}"#, Some("model"), Some("missing_required_parameter"));
        check(
            r#"{"model": "m", "messages": [], "max_token": 3}"#,
            Some("max_token"),
            Some("unknown_parameter"),
        );
        check(
            r#"{"model": "m", "messages": [{"role": 7}]}"#,
            Some("messages[0].role"),
            Some("invalid_type"),
        );
        let content = r#"{"model": "m", "messages": [{"role": "user", "content": 7}]}"#;
        check(content, Some("messages[0].content"), Some("invalid_type"));
        check(
            r#"{"model": "m", "messages": [{}]}"#,
            Some("messages[0].role"),
            Some("missing_required_parameter"),
        );
    }

    #[test]
    fn a_wrong_form_is_told_by_what_would_be_right() {
        let told = |error| match error {
            Err(Error::Refused(refusal)) => refusal.message,
            _ => panic!("it was taken"),
        };
        for input in ["7", r#"[{"role": 7}]"#, r#"["hi"]"#] {
            let body = format!(r#"{{"model": "m", "input": {input}}}"#);
            let message = told(parse::<ResponsesRequest>(body.as_bytes()).map(drop));
            assert!(
                message
                    .starts_with("Invalid type for 'input': it must be a text, or a list of items"),
                "{message}"
            );
        }
        let body = br#"{"model": "m", "messages": [], "stop": 7}"#;
        let message = told(parse::<ChatRequest>(body).map(drop));
        assert!(message.starts_with("Invalid type for 'stop': it must be a text"), "{message}");
    }
}
