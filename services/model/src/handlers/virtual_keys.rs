//! Virtual keys: made, shown, removed, and asked for by their hash.

use chrono::Utc;
use muster_contracts::model::v1::{
    CheckVirtualKeyRequest, CreateVirtualKeyRequest, DeleteVirtualKeyRequest, GetVirtualKeyRequest,
    ListVirtualKeysRequest, VirtualKey, VirtualKeyList,
};
use muster_contracts::{Code, Fault};

use super::allowances::spending;
use crate::app::App;
use crate::error::Error;
use crate::keys::directory::good;
use crate::keys::record::{VirtualRecord, check_hash};

pub(crate) async fn create(
    app: App,
    request: CreateVirtualKeyRequest,
) -> Result<VirtualKey, Error> {
    let key = request.key.unwrap_or_default();
    let record = VirtualRecord::parse(key, &request.hash, Utc::now())?;
    let shown = record.shown();
    app.directory.add(record).await?;
    Ok(shown)
}

pub(crate) async fn list(
    app: App,
    request: ListVirtualKeysRequest,
) -> Result<VirtualKeyList, Error> {
    app.directory.ready().await?;
    let keys = app.directory.virtual_keys(&request.tenant);
    Ok(VirtualKeyList { keys: keys.iter().map(VirtualRecord::shown).collect() })
}

pub(crate) async fn get(app: App, request: GetVirtualKeyRequest) -> Result<VirtualKey, Error> {
    app.directory.ready().await?;
    let found = app.directory.by_id(&request.key_id).await?;
    let record = found.ok_or_else(|| unknown(&request.key_id))?;
    let spending = spending(&app, &record.owner(), record.limits().period).await?;
    Ok(VirtualKey { spending: Some(spending), ..record.shown() })
}

pub(crate) async fn delete(
    app: App,
    request: DeleteVirtualKeyRequest,
) -> Result<VirtualKey, Error> {
    app.directory.ready().await?;
    let found = app.directory.by_id(&request.key_id).await?;
    let record = found.ok_or_else(|| unknown(&request.key_id))?;
    app.directory.remove_virtual(&record.key_id).await?;
    Ok(record.shown())
}

pub(crate) async fn check(app: App, request: CheckVirtualKeyRequest) -> Result<VirtualKey, Error> {
    check_hash(&request.hash)?;
    let found = app.directory.by_hash(&request.hash).await?;
    Ok(good(found)?.shown())
}

fn unknown(key_id: &str) -> Fault {
    Fault::new(Code::NotFound, format!("there is no key {key_id:?}"))
}
