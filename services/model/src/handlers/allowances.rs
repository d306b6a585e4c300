//! Allowances: what tenants, agents and providers may spend and how often they may be used.

use chrono::Utc;
use muster_contracts::model::v1::{
    Allowance, AllowanceList, DeleteAllowanceRequest, GetAllowanceRequest, ListAllowancesRequest,
    PutAllowanceRequest, Spending,
};
use muster_contracts::{Code, Fault, now};

use crate::app::App;
use crate::error::Error;
use crate::keys::record::{AllowanceRecord, Record, owner};
use crate::limits::{Owner, Period};

pub(crate) async fn put(app: App, request: PutAllowanceRequest) -> Result<Allowance, Error> {
    let record = AllowanceRecord::parse(request.allowance.unwrap_or_default())?;
    let shown = record.shown();
    app.directory.put(Record::Allowance(record)).await?;
    Ok(shown)
}

pub(crate) async fn get(app: App, request: GetAllowanceRequest) -> Result<Allowance, Error> {
    let (owner, record) = find(&app, &request.kind, &request.name).await?;
    let spending = spending(&app, &owner, record.limits().period).await?;
    Ok(Allowance { spending: Some(spending), ..record.shown() })
}

pub(crate) async fn delete(app: App, request: DeleteAllowanceRequest) -> Result<Allowance, Error> {
    let (owner, record) = find(&app, &request.kind, &request.name).await?;
    app.directory.remove_allowance(&owner).await?;
    Ok(record.shown())
}

pub(crate) async fn list(
    app: App,
    _request: ListAllowancesRequest,
) -> Result<AllowanceList, Error> {
    app.directory.ready().await?;
    let allowances = app.directory.allowances();
    Ok(AllowanceList { allowances: allowances.iter().map(AllowanceRecord::shown).collect() })
}

async fn find(app: &App, kind: &str, name: &str) -> Result<(Owner, AllowanceRecord), Error> {
    let owner = owner(kind, name)?;
    app.directory.ready().await?;
    let unknown = || Fault::new(Code::NotFound, format!("there is no allowance of {owner}"));
    let record = app.directory.allowance(&owner).ok_or_else(unknown)?;
    Ok((owner, record))
}

/// What an owner has spent within the period that we are in.
pub(super) async fn spending(app: &App, owner: &Owner, period: Period) -> Result<Spending, Error> {
    let account = app.ledger.look(owner).await?;
    Ok(Spending {
        spent_nanos: account.spent(period, Utc::now()),
        reserved_nanos: account.reserved(),
        since: account.since(period, Utc::now()).and_then(now),
    })
}
