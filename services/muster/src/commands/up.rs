//! Runs services in this process.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use muster_runtime::{Env, Service, Stop, logs};
use tracing::warn;

use super::doctor::settings::unknown;
use super::streams;

pub(crate) async fn up(names: &[String]) -> Result<ExitCode> {
    let chosen = choose(crate::services(), names)?;
    let stop = Stop::on_signals().context("signals cannot be heard")?;
    let env = Env::of_process();
    logs::start(&env);
    for slip in slips(&env) {
        warn!("{slip}");
    }
    let setting_up = tokio::spawn(streams::set_up(env.clone()));
    let code = muster_runtime::run(chosen, &env, &stop).await;
    setting_up.abort();
    Ok(code)
}

/// Misspelt settings. Others with our prefix are not told: an orchestrator makes variables of the names of services.
fn slips(env: &Env) -> Vec<String> {
    let near = unknown(env).into_iter().filter_map(|(name, near)| Some((name, near?)));
    near.map(|(name, near)| format!("{name} is no setting and changes nothing: is {near} meant?"))
        .collect()
}

/// The services with these names; all, where none is named.
fn choose(services: Vec<Service>, names: &[String]) -> Result<Vec<Service>> {
    let known: Vec<&str> = services.iter().map(Service::name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no service {unknown:?}; there are {}", known.join(", "));
    }
    Ok(services
        .into_iter()
        .filter(|service| names.is_empty() || names.iter().any(|name| name == service.name()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str]) -> Result<Vec<&'static str>> {
        let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
        Ok(choose(crate::services(), &given)?.iter().map(Service::name).collect())
    }

    #[test]
    fn services_are_chosen_by_name() {
        assert_eq!(names(&["model", "gateway"]).unwrap(), ["gateway", "model"]);
        assert_eq!(names(&[]).unwrap().len(), crate::services().len());
    }

    #[test]
    fn a_misspelt_setting_is_told_with_the_one_that_is_meant() {
        let env =
            [("MUSTER_HTTP_ALOW", "x"), ("MUSTER_HTTP_ALLOW", "x"), ("MUSTER_QUITE_ELSE", "x")];
        assert_eq!(
            slips(&env.into_iter().collect()),
            ["MUSTER_HTTP_ALOW is no setting and changes nothing: is MUSTER_HTTP_ALLOW meant?"]
        );
    }

    #[test]
    fn an_unknown_service_is_refused_with_the_known_ones() {
        let error = names(&["gatway"]).unwrap_err().to_string();
        assert!(
            error.contains("\"gatway\"") && error.contains("gateway, orchestration"),
            "{error}"
        );
    }
}
