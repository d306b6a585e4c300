//! Hears on the bus what requests wait for: one subscription for each kind of event and process.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use muster_contracts::{
    Event,
    auth::v1::KeyRevoked,
    vector::v1::{UpsertCompleted, UpsertFailed},
    workflow::v1::{ExecutionCancelled, ExecutionCompleted, ExecutionFailed},
};
use tracing::warn;

use crate::app::{App, End, Upload};

const PAUSE: Duration = Duration::from_secs(1);

/// Listens until the process ends.
pub(crate) async fn listen(app: App) {
    tokio::join!(
        hear::<ExecutionCompleted>(&app, |app, event| {
            let id = event.execution_id.clone();
            app.ends.tell(&id, &End::Completed(Arc::new(event)));
        }),
        hear::<ExecutionFailed>(&app, |app, event| app
            .ends
            .tell(&event.execution_id, &End::Otherwise)),
        hear::<ExecutionCancelled>(&app, |app, event| app
            .ends
            .tell(&event.execution_id, &End::Otherwise)),
        hear::<KeyRevoked>(&app, |app, event| app.auth.forget(&event.key_id)),
        hear::<UpsertCompleted>(&app, |app, event| {
            let key = event.request_id.clone();
            app.uploads.tell(&key, &Upload::Completed(event));
        }),
        hear::<UpsertFailed>(&app, |app, event| {
            let key = event.request_id.clone();
            app.uploads.tell(&key, &Upload::Failed(event));
        }),
    );
}

async fn hear<M: Event>(app: &App, tell: impl Fn(&App, M)) {
    while !app.stop.is_cancelled() {
        match app.bus.listen::<M>().await {
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                while let Some(Some(event)) = app.stop.run_until_cancelled(events.next()).await {
                    tell(app, event);
                }
            }
            Err(fault) => {
                // While nobody listens, those who wait still read the state every two seconds.
                warn!(event = M::NAME, error = %fault, "cannot listen, will try again");
                app.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
        }
    }
}
