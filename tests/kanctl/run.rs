//! `kanctl run --local`: the tutorial's stories, and everything that can go wrong with a process.

use super::laptop::{Laptop, SECRET_KEY, failed, good, scripted};
use super::support::home::{pg_dump, run, wait_until};
use super::support::{assert_failed, listed_names};
use cistern_api::State;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

#[test]
fn the_time_logger_is_backed_up_restored_and_deleted() {
    let laptop = Laptop::new();
    let place = laptop.home.path("bucket/tutorial").display().to_string();
    laptop.home.write("time.log", "one\ntwo\n");
    laptop.home.write(
        "deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: time-logger, namespace: default}\n",
    );
    let with = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: s3-location, namespace: kanister}}\ndata: {{path: {place}}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: aws-creds, namespace: kanister}}\n\
         data: {{aws_access_key_id: QUtJQQ==}}\n"
    );
    laptop.home.write("with.yaml", &with);
    let bound = ["--secrets", "aws=kanister/aws-creds", "--config-maps", "location=kanister/s3-location"];
    let backup =
        [&["--action", "backup", "--object", "deployment.yaml", "--with", "with.yaml"], &bound[..]].concat();
    let set = laptop.complete(&good("time-log.yaml"), &backup, "backup.yaml");
    let status = set.status.unwrap();
    assert_eq!(status.actions[0].artifacts["timeLog"].key_value["path"], format!("{place}/time-log/"));
    assert_eq!(status.progress.percent_completed, "100");

    laptop.home.write("time.log", "lost");
    let files = ["--with", "deployment.yaml", "--with", "with.yaml"];
    let restore = [&["--action", "restore", "--from", "backup.yaml"], &files[..]].concat();
    laptop.complete(&good("time-log.yaml"), &restore, "restore.yaml");
    assert_eq!(std::fs::read_to_string(laptop.home.path("time.log")).unwrap(), "one\ntwo\n");

    let delete =
        [&["--action", "delete", "--from", "backup.yaml", "--object", "ns.yaml"], &files[..]].concat();
    laptop.complete(&good("time-log.yaml"), &delete, "delete.yaml");
    assert!(!laptop.home.path("bucket/tutorial/time-log").exists());
}

/// A laptop for the tutorial's PostgreSQL blueprint.
fn postgres() -> (Laptop, Vec<&'static str>) {
    let laptop = Laptop::new();
    laptop.home.write("dump.sql", &pg_dump());
    laptop.tool("pg_dumpall", "test \"$PGPASSWORD\" = hunter2 && cat dump.sql");
    laptop.tool("psql", "cat > restored.sql");
    laptop.home.write(
        "with.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: location, namespace: app}\ndata: {path: pg}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: aws, namespace: app}\n\
         stringData: {aws_access_key_id: A, aws_secret_access_key: B}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: postgres, namespace: app}\nstringData: {postgres_password: hunter2}\n",
    );
    let args = vec!["--object", "sts.yaml", "--profile", "profile.yaml", "--with", "with.yaml"];
    (laptop, args)
}

#[test]
fn postgres_by_kube_task_has_the_same_path_in_command_and_artifact() {
    let (laptop, args) = postgres();
    let backup = [&args[..], &["--action", "backup"]].concat();
    let set = laptop.complete(&good("tutorial.yaml"), &backup, "backup.yaml");
    let path = &set.status.unwrap().actions[0].artifacts["cloudObject"].key_value["path"];
    assert_eq!(listed_names(&laptop.home), [path.as_str()]);

    // Scaling needs a cluster, and the whole action is refused before any of it runs.
    let restore = [&args[..], &["--action", "restore", "--from", "backup.yaml"]].concat();
    let ran = laptop.run(&good("tutorial.yaml"), &restore);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(
        ran.err.contains("ScaleWorkload (phase \"stop\"), ScaleWorkload (phase \"start\")"),
        "{}",
        ran.err
    );
    assert!(!laptop.home.path("restored.sql").exists());
}

#[test]
fn a_dump_that_breaks_off_fails_the_action_and_is_never_listed() {
    let (laptop, args) = postgres();
    laptop
        .tool("pg_dumpall", "head -c 3000 dump.sql; echo 'FATAL: server closed the connection' >&2; exit 3");
    let ran = laptop.run(&good("tutorial.yaml"), &[&args[..], &["--action", "backup"]].concat());
    let status = failed(&ran).status.unwrap();
    assert!(
        status.error.message.starts_with("action \"backup\", phase \"pgDump\" failed: it ended with status")
    );
    assert!(status.error.message.contains("FATAL: server closed the connection"), "{}", status.error.message);
    assert_eq!(status.actions[0].phases[0].state, State::Failed);
    assert_eq!(status.actions[0].defer_phase.state, State::Complete, "it runs whatever happened");
    assert!(status.actions[0].artifacts["cloudObject"].key_value["path"].contains("{{"));
    assert_eq!(listed_names(&laptop.home), Vec::<String>::new());
}

#[test]
fn mongodb_survives_a_disaster() {
    let laptop = Laptop::new();
    let documents = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":4}\n";
    laptop.home.write("documents", documents);
    laptop.tool("mongodump", "test \"$MONGO_PASSWORD\" = 'p q' && cat documents");
    laptop.tool("mongorestore", "cat > documents");
    laptop.home.write(
        "secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: app}\nstringData: {mongodb-root-password: p q}\n",
    );
    let files = ["--profile", "profile.yaml", "--with", "secret.yaml", "--with", "sts.yaml"];
    let backup = [&files[..], &["--action", "backup", "--object", "sts.yaml"]].concat();
    let set = laptop.complete(&good("mongodb.yaml"), &backup, "backup.yaml");
    let status = set.status.unwrap();
    let artifact = &status.actions[0].artifacts["cloudObject"].key_value;
    assert_eq!(artifact["documents"], "4");
    assert!(laptop.home.path("unlocked").exists());
    assert_eq!(listed_names(&laptop.home).len(), 1);

    std::fs::remove_file(laptop.home.path("documents")).unwrap();
    let restore = [&files[..], &["--action", "restore", "--from", "backup.yaml"]].concat();
    laptop.complete(&good("mongodb.yaml"), &restore, "restore.yaml");
    assert_eq!(std::fs::read_to_string(laptop.home.path("documents")).unwrap(), documents);

    let delete =
        [&files[..], &["--action", "delete", "--from", "backup.yaml", "--object", "ns.yaml"]].concat();
    laptop.complete(&good("mongodb.yaml"), &delete, "delete.yaml");
    assert_eq!(listed_names(&laptop.home), Vec::<String>::new());
}

/// Runs one script as a phase.
fn one(laptop: &Laptop, script: &str, args: &[&str]) -> super::support::home::Ran {
    laptop.home.write("one.yaml", &scripted(script));
    let fixed = ["--action", "a", "--object", "sts.yaml", "--profile", "profile.yaml"];
    laptop.run("one.yaml", &[&fixed[..], args].concat())
}

#[test]
fn the_profile_stands_in_a_private_file_and_in_no_argument() {
    let laptop = Laptop::new();
    let script = "tr '\\0' '\\n' < /proc/$$/cmdline > argv\n\
                  file=$(cut -d'\"' -f4 <<< '{{ toJson .Profile }}')\nstat -c %a \"$file\" > mode\ncp \"$file\" seen\n\
                  kando output bucket '{{ .Profile.Location.Bucket }}'";
    let ran = one(&laptop, script, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let read = |name: &str| std::fs::read_to_string(laptop.home.path(name)).unwrap();
    assert!(read("argv").contains("cistern.dev/profile-file") && !read("argv").contains(SECRET_KEY));
    assert_eq!(read("mode"), "600\n");
    assert!(read("seen").contains(SECRET_KEY));
    let out = String::from_utf8(ran.out).unwrap();
    assert!(out.contains("bucket: none"), "{out}");

    let ran = one(&laptop, script, &["--inline-profile"]);
    assert_eq!(ran.code, Some(1), "there is no file to copy: {}", ran.err);
    assert!(read("argv").contains(SECRET_KEY), "as Kanister does");
}

#[test]
fn a_phase_that_takes_too_long_is_stopped_with_everything_it_started() {
    let laptop = Laptop::new();
    let ran = one(&laptop, "sleep 300 & echo $! > pid\nsleep 300", &["--timeout", "1s"]);
    let status = failed(&ran).status.unwrap();
    assert!(status.error.message.contains("it took longer than 1s"), "{}", status.error.message);
    gone(&laptop);
}

#[test]
fn what_a_phase_leaves_in_the_background_ends_with_it() {
    let laptop = Laptop::new();
    let ran = one(&laptop, "sleep 300 & echo $! > pid\nkando output key value", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(String::from_utf8(ran.out).unwrap().contains("key: value"));
    gone(&laptop);
}

#[test]
fn ctrl_c_reaches_the_phase() {
    let laptop = Laptop::new();
    laptop.home.write(
        "one.yaml",
        &scripted("trap 'echo heard > heard; exit 1' INT\necho $$ > pid\nsleep 300 & wait"),
    );
    let mut command =
        laptop.command(&["run", "--local", "-f", "one.yaml", "--action", "a", "--object", "sts.yaml"]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let pid_file = laptop.home.path("pid");
    let interrupter = std::thread::spawn({
        let mut child = command.spawn().unwrap();
        move || {
            wait_until("the phase runs", || {
                std::fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n'))
            });
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
            child.wait().unwrap()
        }
    });
    let status = interrupter.join().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(laptop.home.path("heard").exists(), "the signal was passed on");
    gone(&laptop);
}

/// The process whose number the script wrote down has ended.
fn gone(laptop: &Laptop) {
    let text = std::fs::read_to_string(laptop.home.path("pid")).unwrap();
    let pid = Pid::from_raw(text.trim().parse().unwrap()).unwrap();
    wait_until("the process has ended", || test_kill_process(pid).is_err() || is_zombie(pid));
}

/// Ended, and not yet noticed by whoever is to notice it.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z'))
}

#[test]
fn outputs_that_are_none_fail_the_phase() {
    let laptop = Laptop::new();
    let ran = one(&laptop, "echo '###Phase-output###: {\"key\": 5}'", &[]);
    assert!(
        failed(&ran).status.unwrap().error.message.contains("cannot read the phase output"),
        "{}",
        ran.err
    );
}

#[test]
fn options_are_read_as_create_actionset_reads_them() {
    let laptop = Laptop::new();
    let script = "printf '%s;' '{{ .Options.one }}' '{{ .Options.list }}' '{{ .Options.two }}' > said";
    let ran = one(&laptop, script, &["--options", "one=1,\"list=a,b\"", "-o", "two=2"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(laptop.home.path("said")).unwrap(), "1;a,b;2;");
    for wrong in ["one", "=1", "list=a,b"] {
        let ran = one(&laptop, script, &["--options", wrong]);
        assert_failed(&ran, 2);
        assert!(ran.err.contains("--options"), "{}", ran.err);
    }
}

#[test]
fn what_is_missing_is_named() {
    let laptop = Laptop::new();
    let ran = one(&laptop, "echo {{ .Options.nope }} {{ .Time }}", &["--option", "there=1"]);
    let message = failed(&ran).status.unwrap().error.message;
    assert!(message.contains("args.command[2]: \"nope\" not found in .Options; there is there"), "{message}");
    laptop.home.write("one.yaml", &scripted("true"));
    let ran = run(
        laptop.command(&["run", "--local", "-f", "one.yaml", "--action", "b", "--object", "sts.yaml"]),
        b"",
    );
    assert!(
        failed(&ran)
            .status
            .unwrap()
            .error
            .message
            .contains("blueprint \"one\" has no action \"b\"; it has a")
    );
}

#[test]
fn a_parent_that_is_not_complete_leaves_nothing() {
    let laptop = Laptop::new();
    let ran = one(&laptop, "false", &[]);
    laptop.home.write("parent.yaml", std::str::from_utf8(&ran.out).unwrap());
    let ran = laptop.run("one.yaml", &["--from", "parent.yaml"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("it is failed, and only what a complete one left"), "{}", ran.err);
}

#[test]
fn containers_of_one_pod_and_commands_in_every_pod() {
    let laptop = Laptop::new();
    let shared = laptop.home.path("shared");
    std::fs::create_dir(&shared).unwrap();
    let blueprint = format!(
        "apiVersion: cr.kanister.io/v1alpha1\nkind: Blueprint\nmetadata: {{name: many}}\nactions:\n  a:\n    phases:\n    \
         - func: MultiContainerRun\n      name: two\n      args:\n        sharedVolumeDir: {0}\n        initImage: i\n        \
         initCommand: [mkfifo, {0}/pipe]\n        backgroundImage: i\n        backgroundCommand: [sh, -c, 'echo dump > {0}/pipe']\n        \
         outputImage: i\n        outputCommand: [sh, -c, 'kando output said $(cat {0}/pipe)']\n    \
         - func: KubeExecAll\n      name: all\n      args: {{namespace: x, pods: 'p q', containers: 'c d', \
         command: [sh, -c, 'echo x >> count']}}\n    \
         - func: PrepareData\n      name: may\n      args: {{namespace: x, image: i, command: ['false']}}\n    \
         - func: PrepareData\n      name: must\n      args: {{namespace: x, image: i, failOnError: 'true', command: ['false']}}\n",
        shared.display()
    );
    laptop.home.write("many.yaml", &blueprint);
    let ran = laptop.run("many.yaml", &["--action", "a", "--object", "sts.yaml"]);
    let status = failed(&ran).status.unwrap();
    let phases = &status.actions[0].phases;
    assert_eq!(phases[0].output["said"], "dump");
    assert_eq!(std::fs::read_to_string(laptop.home.path("count")).unwrap(), "x\nx\nx\nx\n");
    let states: Vec<State> = phases.iter().map(|phase| phase.state).collect();
    assert_eq!(states, [State::Complete, State::Complete, State::Complete, State::Failed]);
}
