//! Requests whose client has gone: the model service is told, and drops what it asked the provider.

use muster_bus::Bus;
use muster_contracts::llm::v1::SessionAbandoned;
use tokio::sync::mpsc;
use tracing::debug;

/// Where it is said which requests nobody waits for any more. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Abandoned(mpsc::UnboundedSender<String>);

impl Abandoned {
    /// The sender, and what has to be told on by [`tell_abandoned`].
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// A request that somebody waits for, until this is dropped.
    pub(super) fn unless_answered(&self, session: &str) -> Waiting {
        Waiting { abandoned: self.clone(), session: Some(session.to_owned()) }
    }
}

/// Tells on which requests are abandoned.
pub(crate) async fn tell_abandoned(bus: Bus, mut sessions: mpsc::UnboundedReceiver<String>) {
    while let Some(session) = sessions.recv().await {
        if let Err(error) = bus.emit(&SessionAbandoned { session }).await {
            // The reply is made, and read by nobody.
            debug!(%error, "an abandoned request could not be told of");
        }
    }
}

/// Somebody waits for the reply of a session.
pub(super) struct Waiting {
    abandoned: Abandoned,
    session: Option<String>,
}

impl Waiting {
    /// The reply is there: nothing has to be stopped.
    pub(super) fn answered(&mut self) {
        self.session = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // Nobody is told when the process ends, and with it everything that was waited for.
            drop(self.abandoned.0.send(session));
        }
    }
}
