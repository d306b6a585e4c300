//! `call: a2a`: a method of an agent of the Agent2Agent protocol.

use super::http::Keys;
use super::{Object, Parser, at};
use crate::Function;
use crate::expression::Template;
use crate::model::Kind;

const METHODS: [&str; 11] = [
    "message/send",
    "message/stream",
    "tasks/get",
    "tasks/list",
    "tasks/cancel",
    "tasks/resubscribe",
    "tasks/pushNotificationConfig/set",
    "tasks/pushNotificationConfig/get",
    "tasks/pushNotificationConfig/list",
    "tasks/pushNotificationConfig/delete",
    "agent/getAuthenticatedExtendedCard",
];

impl Parser<'_> {
    pub(super) fn a2a(&mut self, task: &Object, pointer: &str) -> Option<Kind> {
        let keys: Keys<'_> = (&["method"], &["agentCard", "server", "parameters"]);
        let (with, pointer) = self.with(task, pointer, Function::A2a.name(), keys)?;
        if let Some(method) = with.get("method") {
            self.one_of(method, &at(&pointer, "method"), "method", &METHODS);
        }
        if let Some(parameters) = with.get("parameters") {
            self.map_or_expression(parameters, &at(&pointer, "parameters"), "parameters");
        }
        let card = match with.get("agentCard") {
            Some(card) => Some(self.external_resource(card, &at(&pointer, "agentCard"))?),
            None => None,
        };
        let server = match with.get("server") {
            Some(server) => Some(self.endpoint(server, &at(&pointer, "server"))?),
            None => None,
        };
        if card.is_none() && server.is_none() {
            let message = "`call: a2a` needs `agentCard` or `server`: where the agent is";
            self.problem(&pointer, message);
            return None;
        }
        let variables = self.variables(&[]);
        let mut entries: Vec<(String, Template)> = with
            .iter()
            .filter(|(key, _)| !["agentCard", "server"].contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), self.template(value, &at(&pointer, key), &variables)))
            .collect();
        entries.extend(card.map(|card| ("agentCard".to_owned(), card)));
        let scheme = server.as_ref().and_then(|server| server.scheme);
        entries.extend(server.map(|server| ("server".to_owned(), server.template)));
        let arguments = Template::Object(entries);
        Some(Kind::Call { function: Function::A2a, arguments, scheme })
    }
}
