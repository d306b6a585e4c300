//! The rules of ARCHITECTURE.md, proven from `cargo metadata` and the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// Crates that are not part of the product: they may depend on anything.
const OUTSIDE: [&str; 3] = ["muster-testkit", "muster-tests", "muster-bench"];
/// The programs of people: they may use every service.
const PROGRAMS: [&str; 1] = ["muster"];
const LONGEST_FILE: usize = 500;

/// A crate of the workspace with its normal dependencies.
struct Crate {
    folder: PathBuf,
    dependencies: BTreeSet<String>,
}

static CRATES: LazyLock<BTreeMap<String, Crate>> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| dependency["kind"].is_null());
            let names = dependencies
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                .collect();
            let folder =
                Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
            (package["name"].as_str().unwrap().to_owned(), Crate { folder, dependencies: names })
        })
        .collect()
});

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn services() -> BTreeSet<&'static str> {
    CRATES
        .iter()
        .filter(|(_, found)| found.folder.parent() == Some(&root().join("services")))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The product's crates that depend on a library themselves.
fn users_of(library: &str) -> BTreeSet<&'static str> {
    let product = CRATES.iter().filter(|(name, _)| !OUTSIDE.contains(&name.as_str()));
    product
        .filter(|(_, found)| found.dependencies.contains(library))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir()
            && !name.starts_with('.')
            && !["target", "node_modules"].contains(&name.as_str())
        {
            found.extend(files(&path, extension));
        } else if name.ends_with(extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The lines of a source that are code of the product: no comments, nothing behind `#[cfg(test)]`.
fn product_lines(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line.to_owned()))
        .collect()
}

/// Fails with every line of these sources that is an offence.
fn no_line(sources: Vec<PathBuf>, rule: &str, offence: impl Fn(&str) -> bool) {
    let mut offences = Vec::new();
    for path in sources.into_iter().filter(|path| !path.ends_with("tests.rs")) {
        for (number, line) in product_lines(&path) {
            if offence(&line) {
                offences.push(format!("{}:{number}: {}", shown(&path), line.trim()));
            }
        }
    }
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

#[test]
fn only_the_bus_knows_nats() {
    assert_eq!(users_of("async-nats"), BTreeSet::from(["muster-bus"]));
}

#[test]
fn no_type_of_nats_is_in_a_public_signature_of_the_bus() {
    let sources = files(&root().join("libs/bus/src"), ".rs");
    no_line(sources, "a public item of muster-bus names async_nats", |line| {
        let line = line.trim_start();
        line.starts_with("pub ") && (line.contains("async_nats") || line.contains("jetstream::"))
    });
}

#[test]
fn no_service_depends_on_a_service() {
    for name in services() {
        if PROGRAMS.contains(&name) {
            continue;
        }
        let others: Vec<_> = CRATES[name]
            .dependencies
            .iter()
            .filter(|dependency| services().contains(dependency.as_str()))
            .collect();
        assert!(others.is_empty(), "{name} depends on {others:?}: services talk over the bus only");
    }
}

#[test]
fn libraries_do_not_depend_on_services() {
    for (name, found) in
        CRATES.iter().filter(|(_, found)| found.folder.parent() == Some(&root().join("libs")))
    {
        let others: Vec<_> = found
            .dependencies
            .iter()
            .filter(|dependency| services().contains(dependency.as_str()))
            .collect();
        assert!(others.is_empty(), "{name} depends on {others:?}");
    }
}

#[test]
fn only_outward_adapters_have_an_http_client() {
    // model and vector ask providers, tool calls the world, and the command line talks to the gateway as any client does.
    let allowed = BTreeSet::from(["muster", "muster-model", "muster-tool", "muster-vector"]);
    let mut users: BTreeSet<_> =
        ["reqwest", "ureq", "genai"].into_iter().flat_map(users_of).collect();
    // The gateway serves by hyper, which is a client only with the feature of that name.
    let has_client = |name: &&str| {
        let manifest = std::fs::read_to_string(CRATES[*name].folder.join("Cargo.toml")).unwrap();
        manifest.lines().any(|line| line.starts_with("hyper") && line.contains("client"))
    };
    users.extend(["hyper", "hyper-util"].into_iter().flat_map(users_of).filter(has_client));
    assert!(users.is_subset(&allowed), "{users:?} have an HTTP client, but only {allowed:?} may");
}

#[test]
fn only_services_that_search_have_a_database() {
    let allowed = BTreeSet::from(["muster-runtime", "muster-vector", "muster-execution-log"]);
    let users = users_of("sqlx");
    assert!(users.is_subset(&allowed), "{users:?} use Postgres, but only {allowed:?} may");
}

#[test]
fn subjects_stand_in_the_contract_only() {
    let roots: BTreeSet<&str> = muster_contracts::CATALOGUE
        .iter()
        .filter_map(|entry| entry.subject.split('.').next())
        .collect();
    let sources = ["services", "libs/bus/src", "libs/runtime/src", "libs/workflow/src"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), ".rs"));
    let sources =
        sources.filter(|path| !path.components().any(|part| part.as_os_str() == "tests")).collect();
    no_line(sources, "a subject outside proto/", |line| {
        line.split('"').skip(1).step_by(2).any(|literal| {
            let mut tokens = literal.split('.');
            let begins = tokens.next().is_some_and(|token| roots.contains(token));
            let rest: Vec<&str> = tokens.collect();
            // A dotted word alone is no subject: `agent.yaml` is a file.
            begins
                && !rest.is_empty()
                && muster_contracts::CATALOGUE.iter().any(|entry| {
                    muster_contracts::subject::overlaps(
                        &muster_contracts::subject::pattern(entry.subject),
                        literal,
                    )
                })
        })
    });
}

#[test]
fn the_engine_and_every_domain_are_pure() {
    let impure = [
        "tokio::",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "SystemTime::now",
        "Instant::now",
        "Utc::now",
        "Uuid::now_v7",
        "Uuid::new_v4",
        "rand::",
        "async fn",
        ".await",
    ];
    let mut sources = files(&root().join("libs/workflow/src"), ".rs");
    for library in ["libs/document/src", "libs/text/src"] {
        sources.extend(files(&root().join(library), ".rs"));
    }
    for name in services() {
        let src = CRATES[name].folder.join("src");
        sources.extend(files(&src.join("domain"), ".rs"));
    }
    no_line(sources, "not pure", |line| impure.iter().any(|word| line.contains(word)));
    let libraries = ["tokio", "muster-bus", "muster-runtime", "rand"];
    let used: Vec<_> = CRATES["muster-workflow"]
        .dependencies
        .iter()
        .filter(|name| libraries.contains(&name.as_str()))
        .collect();
    assert!(used.is_empty(), "muster-workflow depends on {used:?}");
}

#[test]
fn every_service_has_its_readme_its_main_and_its_table_of_contents() {
    for name in services() {
        if PROGRAMS.contains(&name) {
            continue;
        }
        let folder = &CRATES[name].folder;
        for file in ["README.md", "src/main.rs", "src/lib.rs", "src/routes.rs", "src/error.rs"] {
            assert!(folder.join(file).is_file(), "{name} has no {file}");
        }
        let lib = std::fs::read_to_string(folder.join("src/lib.rs")).unwrap();
        assert!(
            lib.contains("include_str!(\"../README.md\")"),
            "the README of {name} is not its documentation"
        );
    }
}

#[test]
fn no_file_is_too_long_and_no_module_is_called_mod() {
    for path in files(&root(), ".rs") {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{} has {lines} lines, more than {LONGEST_FILE}: split it by concern",
            shown(&path)
        );
        assert!(!path.ends_with("mod.rs"), "{}: use foo.rs and foo/", shown(&path));
    }
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    // Spelled apart, so that this file is no offence.
    let words = [
        concat!("#[", "ignore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimplemented", "!"),
        concat!("todo", "!"),
    ];
    for path in files(&root(), ".rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in words {
            assert!(!text.contains(word), "{} has {word:?}", shown(&path));
        }
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for path in files(&root(), ".md") {
        let text = std::fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty()
                || target.contains("://")
                || target.starts_with("mailto:")
                || target.contains(' ');
            if !elsewhere && !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {target}", shown(&path)));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}
