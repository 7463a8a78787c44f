//! Python's side of the tests: a simulated AWS (moto), a user of boto3, and a receiver that checks signatures with the
//! public library. `tests/run` sets them up and names the interpreter in `TRACKER_TEST_PYTHON`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Importing moto and boto3 takes seconds on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(120);
const SCRIPT_WITHIN: Duration = Duration::from_secs(120);

/// The interpreter with everything in `tests/moto/requirements.txt`.
///
/// `None`: not set up, which has been said; the test is to return. With `TRACKER_TEST_ALL=1`, as under `tests/run`, that
/// is a failure.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("TRACKER_TEST_PYTHON") {
        return Some(PathBuf::from(python));
    }
    assert!(
        std::env::var_os("TRACKER_TEST_ALL").is_none_or(|all| all != "1"),
        "{test} needs TRACKER_TEST_PYTHON, and TRACKER_TEST_ALL=1 allows no skipping"
    );
    // Not with `eprintln!`, which the test harness swallows when the test passes.
    let said = format!("SKIPPED {test}: it needs Python with moto; `tests/run` sets it up and runs everything\n");
    let _ = std::io::stderr().write_all(said.as_bytes());
    None
}

/// A simulated AWS on a port of its own. Gone when dropped, and when this process is gone.
pub(crate) struct Moto {
    python: PathBuf,
    endpoint: String,
    /// Its standard input is the line that holds it: see `serve.py`.
    _server: Child,
}

impl Moto {
    pub(crate) async fn start(python: PathBuf) -> Self {
        let mut server = Command::new(&python)
            .arg(script("serve.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("{} could not be started: {err}", python.display()));
        let mut port = String::new();
        let mut stdout = BufReader::new(server.stdout.take().expect("piped"));
        timeout(START_WITHIN, stdout.read_line(&mut port))
            .await
            .expect("moto is up in time")
            .expect("its port is text");
        let port: u16 = port.trim().parse().expect("moto says its port; why it did not is above");
        Self { python, endpoint: format!("http://127.0.0.1:{port}"), _server: server }
    }

    /// `http://127.0.0.1:PORT`, for every service.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Lets a user of boto3 do something in us-east-1 (see `instance.py`) and gives what was printed, line by line.
    pub(crate) async fn boto(&self, what: &[&str]) -> Vec<String> {
        let mut args = vec![self.endpoint.as_str(), "us-east-1"];
        args.extend(what);
        let ran = run(&self.python, "instance.py", &args, "").await;
        assert_eq!(ran.status, 0, "instance.py {}: {}", what.join(" "), ran.stderr);
        ran.stdout.lines().map(str::to_owned).collect()
    }
}

/// How a script ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a script of `tests/moto` to its end.
pub(crate) async fn run(python: &Path, name: &str, args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(python)
        .arg(script(name))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|err| panic!("{} could not be started: {err}", python.display()));
    let mut input = child.stdin.take().expect("piped");
    let stdin = stdin.to_owned();
    // Beside the reading: a script that answers before it has read all would otherwise wait for us, and we for it. One
    // that does not read at all closes the pipe, which is its right.
    let writing = tokio::spawn(async move {
        let _ = input.write_all(stdin.as_bytes()).await;
    });
    let output = timeout(SCRIPT_WITHIN, child.wait_with_output()).await.expect("it ends in time").expect("it ran");
    writing.await.expect("writing does not panic");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A callback, judged by `standardwebhooks` from PyPI: exit status 0 when its signature is good (see `verify.py`).
pub(crate) async fn verify(python: &Path, secret: &str, headers: &[(&str, &str)], body: &str) -> Ran {
    let headers: serde_json::Map<String, serde_json::Value> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let callback = serde_json::json!({ "secret": secret, "headers": headers, "body": body });
    run(python, "verify.py", &[], &callback.to_string()).await
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moto").join(name)
}
