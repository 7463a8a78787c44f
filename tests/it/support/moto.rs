//! Python's side of the tests: a simulated AWS (moto), a user of boto3, and a receiver that checks signatures with the
//! public library. `tests/run` sets them up and names the interpreter in `TRACKER_TEST_PYTHON`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use tracker::model::Credentials;

/// Importing moto and boto3 takes seconds on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(120);
const SCRIPT_WITHIN: Duration = Duration::from_secs(120);

/// The one secret access key that `serve.py` knows.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// What each new account owns.
pub(crate) const OWN_IMAGE: &str = "ami-0123456789abcdef0";

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
    accounts: AtomicU32,
    /// Its standard input is the line that holds it: see `serve.py`. A child of no runtime, as tests that share it have
    /// one each.
    server: std::process::Child,
}

impl Moto {
    pub(crate) async fn start(python: PathBuf) -> Self {
        tokio::task::spawn_blocking(|| Self::start_blocking(python)).await.expect("what it said is above")
    }

    /// One for all tests that keep apart by accounts of their own, as starting one takes seconds. Ends with this process.
    ///
    /// `None` as for [`python`], said once for all of them.
    pub(crate) fn shared(tests: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Moto>> = OnceLock::new();
        SHARED.get_or_init(|| python(tests).map(Self::start_blocking)).as_ref()
    }

    fn start_blocking(python: PathBuf) -> Self {
        let mut server = std::process::Command::new(&python)
            .arg(script("serve.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|err| panic!("{} could not be started: {err}", python.display()));
        let mut stdout = BufReader::new(server.stdout.take().expect("piped"));
        let mut moto = Self { python, endpoint: String::new(), accounts: AtomicU32::new(0), server };
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Nobody listens any more when it is too late.
            let _ = tell.send(stdout.read_line(&mut line).map(|_| line));
        });
        let port = told.recv_timeout(START_WITHIN).expect("moto is up in time").expect("its port is text");
        let port: u16 = port.trim().parse().expect("moto says its port; why it did not is above");
        moto.endpoint = format!("http://127.0.0.1:{port}");
        moto
    }

    /// Of an account that nobody else uses, with nothing in it but the image [`OWN_IMAGE`].
    pub(crate) fn new_account(&self) -> Credentials {
        let account = self.accounts.fetch_add(1, Ordering::Relaxed) + 1;
        Credentials { user: format!("AKIA0000{account:012}"), password: SECRET.into() }
    }

    /// `http://127.0.0.1:PORT`, for every service.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The `nth` key of the account that [`Moto::new_account`] made, from 0, which is the one that it gave.
    pub(crate) fn key_of(account: &Credentials, nth: u8) -> Credentials {
        let number = account.user.get(8..).expect("AKIA, four figures and the account's number");
        Credentials { user: format!("AKIA{nth:04}{number}"), password: SECRET.into() }
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

impl Drop for Moto {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
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
    run_script(python, &script(name), args, stdin).await
}

/// Runs any script to its end.
pub(crate) async fn run_script(interpreter: &Path, script: &Path, args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(interpreter)
        .arg(script)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|err| panic!("{} could not be started: {err}", interpreter.display()));
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
