//! `try`, `catch`, `retry` and `raise`.

use serde_json::Value;

use super::call::may_be_text;
use super::{Object, Parser, at, is};
use crate::expression::Template;
use crate::model::{Backoff, Filter, Kind, Raise, Retry, Try};

impl Parser<'_> {
    pub(super) fn try_(&mut self, task: &Object, tasks: &Value, pointer: &str) -> Option<Kind> {
        let body = self.list(tasks, pointer, &at(pointer, "try"));
        let at_catch = at(pointer, "catch");
        let Some(catch) = task.get("catch") else {
            self.problem(at_catch, "`catch` is missing: what happens with errors");
            return None;
        };
        let catch = self.object(catch, &at_catch, "`catch`")?;
        let known = ["errors", "as", "when", "exceptWhen", "retry", "do"];
        self.only(catch, &at_catch, "`catch`", &known);
        let filter = catch.get("errors").map(|value| self.filter(value, &at(&at_catch, "errors")));
        let variable = self.variable(catch.get("as"), "error", &at(&at_catch, "as"));
        self.scope.push(variable.clone());
        let variables = self.variables(&[]);
        let mut condition = |field: &str| {
            let value = catch.get(field)?;
            self.expression(value, &at(&at_catch, field), &variables)
        };
        let (when, except_when) = (condition("when"), condition("exceptWhen"));
        let retry = catch.get("retry").and_then(|value| self.retry(value, &at(&at_catch, "retry")));
        let handler =
            catch.get("do").map(|tasks| self.list(tasks, &at_catch, &at(&at_catch, "do")));
        self.scope.pop();
        let filter = filter.unwrap_or_default();
        Some(Kind::Try(Try { body, filter, variable, when, except_when, retry, handler }))
    }

    fn filter(&mut self, value: &Value, pointer: &str) -> Filter {
        let mut filter = Filter::default();
        let Some(errors) = self.object(value, pointer, "`errors`") else { return filter };
        self.only(errors, pointer, "`errors`", &["with"]);
        let pointer = at(pointer, "with");
        let Some(with) = errors.get("with") else { return filter };
        let Some(with) = self.object(with, &pointer, "`with`") else { return filter };
        // The reference writes `detail`, the schema `details`.
        let known = ["type", "status", "instance", "title", "detail", "details"];
        self.only(with, &pointer, "an error filter", &known);
        for (field, value) in with {
            let pointer = at(&pointer, field);
            if field == "status" {
                filter.status = self.status(value, &pointer);
                continue;
            }
            let text = self.text(value, &pointer, &format!("`{field}`")).map(str::to_owned);
            match field.as_str() {
                "type" => filter.r#type = text,
                "instance" => filter.instance = text,
                "title" => filter.title = text,
                _ => filter.detail = text,
            }
        }
        filter
    }

    fn status(&mut self, value: &Value, pointer: &str) -> Option<u16> {
        let status = value.as_u64().filter(|status| (100..600).contains(status));
        if status.is_none() {
            let message = format!("`status` must be a number from 100 to 599, not {}", is(value));
            self.problem(pointer, message);
        }
        status.and_then(|status| u16::try_from(status).ok())
    }

    /// A retry policy, or the name of one in `use.retries`.
    fn retry(&mut self, value: &Value, pointer: &str) -> Option<Retry> {
        let Value::String(name) = value else { return self.retry_policy(value, pointer) };
        let found = self.reuse("retries", name, pointer)?;
        self.retry_policy(found, pointer)
    }

    pub(super) fn retry_policy(&mut self, value: &Value, pointer: &str) -> Option<Retry> {
        let map = self.object(value, pointer, "a retry policy")?;
        let known = ["when", "exceptWhen", "delay", "backoff", "limit", "jitter"];
        self.only(map, pointer, "a retry policy", &known);
        let mut variables = self.variables(&[]);
        if self.scope.is_empty() {
            // Checked where it is defined, it knows the error under its usual name.
            variables.push("$error".to_owned());
        }
        let mut condition = |field: &str| {
            let value = map.get(field)?;
            self.expression(value, &at(pointer, field), &variables)
        };
        let (when, except_when) = (condition("when"), condition("exceptWhen"));
        let delay = map.get("delay").and_then(|value| self.duration(value, &at(pointer, "delay")));
        let backoff = map.get("backoff").and_then(|value| self.backoff(value, pointer));
        let jitter = map.get("jitter").and_then(|value| self.jitter(value, &at(pointer, "jitter")));
        let mut retry = Retry {
            when,
            except_when,
            delay: delay.unwrap_or_default(),
            backoff: backoff.unwrap_or(Backoff::Constant),
            count: None,
            duration: None,
            attempt: None,
            jitter,
        };
        if let Some(limit) = map.get("limit") {
            self.limit(limit, &at(pointer, "limit"), &mut retry);
        }
        if retry.count.is_none() && retry.duration.is_none() {
            let message = "a retry policy needs `limit.attempt.count` or `limit.duration`: \
                           without a limit it may retry for ever";
            self.problem(pointer, message);
        }
        Some(retry)
    }

    fn backoff(&mut self, value: &Value, pointer: &str) -> Option<Backoff> {
        let pointer = at(pointer, "backoff");
        let map = self.object(value, &pointer, "`backoff`")?;
        let mut kinds = map.iter();
        let (Some((kind, options)), None) = (kinds.next(), kinds.next()) else {
            let message = "`backoff` must have one of constant, linear, exponential";
            self.problem(pointer, message);
            return None;
        };
        let backoff = match kind.as_str() {
            "constant" => Backoff::Constant,
            "linear" => Backoff::Linear,
            "exponential" => Backoff::Exponential,
            other => {
                let message =
                    format!("`{other}` is no backoff; supported are constant, linear, exponential");
                self.problem(at(&pointer, other), message);
                return None;
            }
        };
        let pointer = at(&pointer, kind);
        let options = self.object(options, &pointer, "a backoff")?;
        if let Some(option) = options.keys().next() {
            let message = format!(
                "`{option}` is not supported: the DSL has no options for a backoff, write {{}}"
            );
            self.problem(at(&pointer, option), message);
        }
        Some(backoff)
    }

    fn jitter(
        &mut self,
        value: &Value,
        pointer: &str,
    ) -> Option<(std::time::Duration, std::time::Duration)> {
        let map = self.object(value, pointer, "`jitter`")?;
        self.only(map, pointer, "`jitter`", &["from", "to"]);
        let (Some(from), Some(to)) = (map.get("from"), map.get("to")) else {
            self.problem(pointer, "`jitter` needs `from` and `to`");
            return None;
        };
        let from = self.duration(from, &at(pointer, "from"))?;
        let to = self.duration(to, &at(pointer, "to"))?;
        if from > to {
            self.problem(pointer, format!("`from` ({from:?}) is longer than `to` ({to:?})"));
        }
        Some((from, to))
    }

    fn limit(&mut self, value: &Value, pointer: &str, retry: &mut Retry) {
        let Some(map) = self.object(value, pointer, "`limit`") else { return };
        self.only(map, pointer, "`limit`", &["attempt", "duration"]);
        if let Some(duration) = map.get("duration") {
            retry.duration = self.duration(duration, &at(pointer, "duration"));
        }
        let pointer = at(pointer, "attempt");
        let Some(attempt) = map.get("attempt") else { return };
        let Some(attempt) = self.object(attempt, &pointer, "`attempt`") else { return };
        self.only(attempt, &pointer, "`attempt`", &["count", "duration"]);
        if let Some(duration) = attempt.get("duration") {
            retry.attempt = self.duration(duration, &at(&pointer, "duration"));
        }
        if let Some(count) = attempt.get("count") {
            let parsed = count.as_u64().and_then(|count| u32::try_from(count).ok());
            if parsed.is_none() {
                let message =
                    format!("`count` must be a whole number of 0 or more, not {}", is(count));
                self.problem(at(&pointer, "count"), message);
            }
            retry.count = parsed;
        }
    }

    pub(super) fn raise(&mut self, value: &Value, pointer: &str) -> Option<Kind> {
        let pointer = at(pointer, "raise");
        let map = self.object(value, &pointer, "`raise`")?;
        self.only(map, &pointer, "`raise`", &["error"]);
        let pointer = at(&pointer, "error");
        let Some(error) = map.get("error") else {
            self.problem(pointer, "`error` is missing: its definition, or its name in use.errors");
            return None;
        };
        let raise = match error {
            Value::String(name) => {
                let found = self.reuse("errors", name, &pointer)?;
                self.error(found, &pointer)
            }
            inline => self.error(inline, &pointer),
        };
        raise.map(Kind::Raise)
    }

    pub(super) fn error(&mut self, value: &Value, pointer: &str) -> Option<Raise> {
        let map = self.object(value, pointer, "an error")?;
        let known = ["type", "status", "title", "detail", "instance"];
        self.only(map, pointer, "an error", &known);
        for field in ["type", "status"] {
            if !map.contains_key(field) {
                self.problem(at(pointer, field), format!("`{field}` is missing in the error"));
            }
        }
        let status = map.get("status").and_then(|value| self.status(value, &at(pointer, "status")));
        let r#type = self.error_text(map, "type", pointer);
        let title = self.error_text(map, "title", pointer);
        let detail = self.error_text(map, "detail", pointer);
        let instance = self.error_text(map, "instance", pointer);
        Some(Raise { r#type: r#type?, status: status?, title, detail, instance })
    }

    fn error_text(&mut self, map: &Object, field: &str, pointer: &str) -> Option<Template> {
        let value = map.get(field)?;
        let pointer = at(pointer, field);
        let variables = self.variables(&[]);
        let template = self.template(value, &pointer, &variables);
        if !may_be_text(&template) {
            let message = format!("`{field}` must be a string or an expression, not {}", is(value));
            self.problem(pointer, message);
            return None;
        }
        Some(template)
    }
}
