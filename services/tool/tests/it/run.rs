//! `run: script` and `run: shell`: what programs get, what they may do, and how they end.

use std::time::Duration;

use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::{DEADLINE, World};

fn shell(command: &str) -> Value {
    json!({ "shell": { "command": command } })
}

fn returning(mut run: Value, what: &str) -> Value {
    run["return"] = json!(what);
    run
}

#[tokio::test]
async fn a_program_gets_what_the_task_gives_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("api"), "s3cret").unwrap();
    let world = World::with("", folder.path().to_str().unwrap()).await;
    let given = |what: &str, run: Value| {
        let mut run = run;
        run["stdin"] = json!("in \u{FDD0}api\u{FDD1}");
        run["arguments"] = json!(["one", 2]);
        run["environment"] = json!({ "TONE": "low" });
        json!({ what: run })
    };
    let command = "cat; echo; echo \"$1 $2 $TONE $#\"; env | cut -d= -f1 | sort | tr '\\n' ' '; test \"$HOME\" = \"$PWD\" && ls -A";
    let told = world.outward("run", given("shell", json!({ "command": command }))).await.unwrap();
    assert_eq!(told, "in ***\none 2 low 2\nHOME PATH PWD TMPDIR TONE ");
    let python = "import os, sys\nprint(sys.stdin.read(), sys.argv[1:], os.environ['TONE'], len(os.environ) < 8)";
    let script = |language: &str, code: &str| json!({ "language": language, "code": code });
    let told = world.outward("run", given("script", script("python", python))).await.unwrap();
    assert_eq!(told, "in *** ['one', '2'] low True\n");
    let js = "import { readFileSync } from 'node:fs';\nconst [_, __, ...args] = process.argv;\nconsole.log(readFileSync(process.stdin.fd, 'utf8'), args, process.env.TONE)";
    let told = world.outward("run", given("script", script("javascript", js))).await.unwrap();
    assert_eq!(told, "in *** [ 'one', '2' ] low\n");
}

#[tokio::test]
async fn a_task_has_what_it_wants_of_a_program() {
    let world = World::start().await;
    let run = || shell("echo out; echo err >&2; exit 3");
    for (what, output) in [
        ("stderr", json!("err\n")),
        ("code", json!(3)),
        ("all", json!({ "code": 3, "stdout": "out\n", "stderr": "err\n" })),
    ] {
        assert_eq!(world.outward("run", returning(run(), what)).await.unwrap(), output);
    }
    for what in ["stdout", "none"] {
        let raised = world.outward("run", returning(run(), what)).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), ("runtime", 500), "{raised:?}");
        assert_eq!(raised.2, "the program ended with the status 3: err");
    }
    assert_eq!(world.outward("run", returning(shell("true"), "none")).await.unwrap(), Value::Null);
    let killed = world.outward("run", returning(shell("kill -9 $$"), "code")).await.unwrap();
    assert_eq!(killed, 137);
}

#[tokio::test]
async fn what_the_operator_does_not_name_is_not_run() {
    let mut world = World::start().await;
    world.crash();
    world.run = "python";
    world.serve().await;
    let denied = world.outward("run", shell("true")).await.unwrap_err();
    assert_eq!(denied.0, "DENIED");
    assert!(denied.2.contains("MUSTER_RUN of the tool service, now \"python\""), "{denied:?}");
    let js = json!({ "script": { "language": "js", "code": "1" } });
    assert_eq!(world.outward("run", js).await.unwrap_err().0, "DENIED");
}

#[tokio::test]
async fn a_program_has_bounds() {
    let world = World::start().await;
    let large = world.outward("run", shell("yes")).await.unwrap_err();
    assert!(large.2.contains("more than 1048576 bytes"), "{large:?}");
    let code = "x = bytearray(3 << 30)";
    let memory = json!({ "script": { "language": "python", "code": code } });
    let raised = world.outward("run", memory).await.unwrap_err();
    assert!(raised.2.contains("MemoryError"), "{raised:?}");
    let file = shell("head -c 200000000 /dev/zero > file; echo $?");
    assert_ne!(world.outward("run", file).await.unwrap(), "0\n");
    // A program that others of its own outlive has ended, and so have they.
    let left = shell("sleep 600 & echo $!");
    let pid = world.outward("run", left).await.unwrap();
    gone(pid.as_str().unwrap()).await;
}

#[tokio::test]
async fn a_cancelled_program_ends_with_all_that_it_started() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let command =
        format!("sleep 600 & echo $! > '{0}.new' && mv '{0}.new' '{0}'; wait", file.display());
    world.command("call:run", "k1", shell(&command)).await;
    let pid = eventually(DEADLINE, "it runs", || async { std::fs::read_to_string(&file) }).await;
    world.cancel("/do/k1").await;
    assert_eq!(world.cancelled().await.task, "/do/k1");
    gone(&pid).await;
}

#[tokio::test]
async fn a_program_that_is_not_waited_for_goes_on_alone() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (go, done) = (folder.path().join("go"), folder.path().join("done"));
    let command = format!(
        "until test -e '{}'; do sleep 0.05; done; echo x > '{}'",
        go.display(),
        done.display()
    );
    let mut run = shell(&command);
    run["await"] = json!(false);
    assert_eq!(world.outward("run", run).await.unwrap(), Value::Null);
    std::fs::write(go, "").unwrap();
    eventually(DEADLINE, "it is done", || async { std::fs::metadata(&done) }).await;
}

/// Waits until there is no such process any more, or only what nobody has taken note of.
async fn gone(pid: &str) {
    let status = format!("/proc/{}/stat", pid.trim());
    eventually(Duration::from_secs(60), "the process ends", || async {
        match std::fs::read_to_string(&status) {
            Ok(text) if !text.contains(") Z ") => Err(text),
            _ => Ok(()),
        }
    })
    .await;
}
