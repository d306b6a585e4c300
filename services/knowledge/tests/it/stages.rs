use muster_contracts::sparc::v1::{
    GetArchitectureRequest, GetPseudocodeRequest, GetTemplateRequest, Template,
};
use muster_contracts::template::v1::{DeleteTemplateRequest, RenderTemplateRequest};
use muster_contracts::{Code, Fault, JsonObject};
use serde_json::{Value, json};

use crate::{DEADLINE, World};

impl World {
    async fn stage(&self, stage: &str, vars: Value) -> Result<Template, Fault> {
        let vars = Some(JsonObject::wrap(vars));
        self.bus.request_within(&GetTemplateRequest { stage: stage.into(), vars }, DEADLINE).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stage_is_answered_and_a_template_of_its_name_goes_before_it() {
    let world = World::start().await;
    let all = json!({"task": "a parser of dates", "specification": "R1: must read 2026-02-30 as an error"});
    let vars = |names: &[&str]| -> Value {
        let mut vars = all.clone();
        for name in names {
            vars[*name] = json!("what was made");
        }
        vars
    };
    let task = json!({"task": "a parser of dates"});
    for (stage, vars) in [
        ("spec", task.clone()),
        ("specification", task.clone()),
        ("pseudocode", vars(&[])),
        ("architecture", vars(&["pseudocode"])),
        ("refinement", vars(&["work"])),
        ("completion", vars(&["work"])),
    ] {
        let found = world.stage(stage, vars.clone()).await.unwrap();
        assert!(found.template.contains("a parser of dates"), "{stage}");
        assert!(found.stage.starts_with(stage) && found.name == found.stage, "{stage}");
        assert!(found.tokens > 200 && found.version.len() == 64, "{stage}");
        assert_eq!(world.stage(stage, vars).await.unwrap(), found, "the same again");
    }
    let vars = Some(JsonObject::wrap(all));
    let pseudocode = GetPseudocodeRequest { vars: vars.clone() };
    let pseudocode = world.bus.request_within(&pseudocode, DEADLINE).await.unwrap();
    assert!(pseudocode.template.contains("2026-02-30") && pseudocode.stage == "pseudocode");
    let architecture = GetArchitectureRequest { vars };
    let architecture = world.bus.request_within(&architecture, DEADLINE).await.unwrap();
    assert_eq!(architecture.stage, "architecture");

    let fault = world.stage("deployment", json!({})).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(
        fault.message.contains("\"deployment\"") && fault.message.contains("refinement"),
        "{fault:?}"
    );
    let fault = world.stage("spec", json!({})).await.unwrap_err();
    assert!(
        fault.code == Code::Invalid && fault.message.contains("\"task\" is missing"),
        "{fault:?}"
    );

    let own = json!({"name": "specification", "text": "Ours."});
    let own = world.put(own).await.unwrap();
    let found = world.stage("spec", json!({})).await.unwrap();
    assert_eq!((found.template.as_str(), found.version), ("Ours.", own.digest));
    let delete = DeleteTemplateRequest { name: "specification".into() };
    world.bus.request(&delete).await.unwrap();
    assert!(world.stage("spec", task).await.unwrap().tokens > 200);
    assert_eq!(world.bus.request(&delete).await.unwrap_err().code, Code::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_a_template_or_a_stage() {
    let world = World::start().await;
    let render = |template: &str, stage: &str| RenderTemplateRequest {
        template: template.into(),
        stage: stage.into(),
        vars: Some(JsonObject::wrap(json!({"task": "x"}))),
        ..Default::default()
    };
    let by_stage = world.bus.request_within(&render("", "spec"), DEADLINE).await.unwrap();
    let by_name = world.bus.request_within(&render("specification", ""), DEADLINE).await.unwrap();
    assert_eq!(by_stage, by_name);
    for (template, stage, part) in [
        ("", "", "`template` is missing"),
        ("specification", "spec", "only one of them"),
        ("", "nothing", "\"nothing\""),
    ] {
        let fault = world.bus.request_within(&render(template, stage), DEADLINE).await.unwrap_err();
        assert!(fault.code == Code::Invalid && fault.message.contains(part), "{fault:?}");
    }
}
