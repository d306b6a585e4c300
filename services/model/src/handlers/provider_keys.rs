//! Stored keys of providers: written, listed, removed and put under a new master key; never shown.

use muster_contracts::model::v1::{
    DeleteProviderKeyRequest, ListProviderKeysRequest, ProviderKey, ProviderKeyList,
    ProviderKeysRewrapped, PutProviderKeyRequest, RewrapProviderKeysRequest,
};
use muster_contracts::{Code, Fault};
use muster_text::nearest;

use crate::app::App;
use crate::config::Secret;
use crate::error::Error;
use crate::keys::record::{ProviderRecord, check_id};
use crate::providers::OFFLINE;

const MAX_KEY: usize = 4_096;

pub(crate) async fn put(app: App, request: PutProviderKeyRequest) -> Result<ProviderKey, Error> {
    check_id("provider", &request.provider)?;
    known(&app, &request.provider)?;
    let key_id = match request.key_id.as_str() {
        "" => format!("key-{:016x}", rand::random::<u64>()),
        given => {
            check_id("key_id", given)?;
            given.to_owned()
        }
    };
    let key = Secret::new(&request.key);
    let length = key.expose().len();
    let fits = |byte: u8| byte.is_ascii_graphic();
    if !(1..=MAX_KEY).contains(&length) || !key.expose().bytes().all(fits) {
        return Err(Error::invalid(format!(
            "key has {length} bytes, but must have 1 to {MAX_KEY}, all of them visible ASCII: no spaces, no line breaks"
        )));
    }
    Ok(app.vault.put(&request.provider, &key_id, &key).await?.shown())
}

/// A key that no provider would ever be asked with is somebody's slip.
fn known(app: &App, provider: &str) -> Result<(), Error> {
    let mut names = app.routing.providers.names();
    // It is in this program, and asked without a key.
    names.retain(|name| *name != OFFLINE);
    if names.contains(&provider) {
        return Ok(());
    }
    let near = nearest(provider, names.iter().copied());
    let near = near.map(|near| format!("; is {near:?} meant?")).unwrap_or_default();
    let known = format!(
        "those that take a key are {}, and others are described in the file of MUSTER_MODELS_FILE first{near}",
        names.join(", ")
    );
    Err(Error::UnknownProvider { name: provider.chars().take(80).collect(), known })
}

pub(crate) async fn list(
    app: App,
    request: ListProviderKeysRequest,
) -> Result<ProviderKeyList, Error> {
    app.directory.ready().await?;
    let keys = app.directory.provider_keys(&request.provider);
    Ok(ProviderKeyList { keys: keys.iter().map(ProviderRecord::shown).collect() })
}

pub(crate) async fn delete(
    app: App,
    request: DeleteProviderKeyRequest,
) -> Result<ProviderKey, Error> {
    app.directory.ready().await?;
    let (provider, key_id) = (&request.provider, &request.key_id);
    let record = app.directory.provider_key(provider, key_id).ok_or_else(|| {
        Fault::new(Code::NotFound, format!("no key of {provider:?} is stored as {key_id:?}"))
    })?;
    app.directory.remove_provider(provider, key_id).await?;
    Ok(record.shown())
}

pub(crate) async fn rewrap(
    app: App,
    _request: RewrapProviderKeysRequest,
) -> Result<ProviderKeysRewrapped, Error> {
    let (master_key_id, done) = app.vault.rewrap().await?;
    Ok(ProviderKeysRewrapped { master_key_id, rewrapped: done.moved, unchanged: done.unchanged })
}
