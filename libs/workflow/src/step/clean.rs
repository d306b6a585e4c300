//! Takes marks of secrets out of what comes from outside, so that nobody there can make one.

use std::borrow::Cow;

use muster_document::marks;

use super::Input;

pub(super) fn clean(input: &Input) -> Cow<'_, Input> {
    if !is_marked(input) {
        return Cow::Borrowed(input);
    }
    let mut input = input.clone();
    match &mut input {
        Input::Start { input: value }
        | Input::StartChild { input: value, .. }
        | Input::Completed { output: value, .. }
        | Input::Event { event: value, .. } => marks::unmark(value),
        Input::Failed { error, .. } => {
            for text in
                [&mut error.r#type, &mut error.title, &mut error.detail, &mut error.instance]
            {
                *text = marks::unmark_text(text).into_owned();
            }
        }
        Input::Cancel { reason } | Input::Suspend { reason } => {
            *reason = marks::unmark_text(reason).into_owned();
        }
        Input::TimerFired { .. } | Input::Resume | Input::Retry | Input::RetryWith { .. } => {}
    }
    Cow::Owned(input)
}

fn is_marked(input: &Input) -> bool {
    match input {
        Input::Start { input: value }
        | Input::StartChild { input: value, .. }
        | Input::Completed { output: value, .. }
        | Input::Event { event: value, .. } => marks::is_marked(value),
        Input::Failed { error, .. } => {
            let texts = [&error.r#type, &error.title, &error.detail, &error.instance];
            texts.into_iter().any(|text| marks::is_text_marked(text))
        }
        Input::Cancel { reason } | Input::Suspend { reason } => marks::is_text_marked(reason),
        Input::TimerFired { .. } | Input::Resume | Input::Retry | Input::RetryWith { .. } => false,
    }
}
