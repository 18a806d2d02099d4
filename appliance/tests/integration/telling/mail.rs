//! The same by mail, through a mail server that is somebody else's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::controller::Controller;
use crate::operator::rackwright;

/// aiosmtpd at work. Dropping it kills it.
struct Server {
    child: Child,
    says: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(folder: &Path, how: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/telling/mail_server.py");
        let mut python = Command::new("/usr/bin/python3");
        python.arg(script).arg(folder.join("server.pem")).arg(folder.join("server.key")).arg(how);
        let mut child = python.stdout(Stdio::piped()).spawn().expect("python3");
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("its port: is the package python3-aiosmtpd there?");
        Self { child, says, port }
    }

    /// The next mail it has taken.
    fn took(&mut self) -> Value {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An authority of its own, and a certificate of it for `localhost`.
fn certified(folder: &Path) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let issuer = rcgen::Issuer::from_params(&authority, &authority_key);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    for (name, text) in
        [("ca.pem", root.pem()), ("server.pem", leaf.pem()), ("server.key", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

fn said(server: &Server, more: &str) -> String {
    format!(
        "[notify.mail]\nto = [\"Ops <ops@example.net>\", \"boss@example.net\"]\nfrom = \"rack@example.net\"\n\
         server = \"localhost:{}\"\n{more}",
        server.port
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_mailed_over_tls_from_an_account() {
    let folder = tempfile::tempdir().unwrap();
    certified(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("password"), "the password\n").unwrap();
    std::fs::write(file("wrong"), "another one\n").unwrap();
    let account = |password: &str| format!("user = \"rack\"\npassword_file = \"{}\"\n", file(password));
    let trust = format!("ca_file = \"{}\"\n", file("ca.pem"));
    for how in ["starttls", "always"] {
        let mut server = Server::start(folder.path(), how);
        let told = async |more: String| {
            let state = tempfile::tempdir().unwrap();
            let controller = Controller::start_as(state.path(), &said(&server, &more)).await;
            let ran = rackwright(&controller, "notify test").await;
            controller.stop().await;
            ran
        };
        let tls = format!("tls = \"{how}\"\n");
        let ran = told(format!("{tls}{trust}{}", account("password"))).await;
        let whom = format!("told ops@example.net, boss@example.net by localhost:{}\n", server.port);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), whom.as_str()), "{ran:?}");
        let stranger = told(format!("{tls}{}", account("password"))).await;
        assert!(stranger.code == Some(1) && stranger.err.contains("by localhost:"), "{stranger:?}");
        let wrong = told(format!("{tls}{trust}{}", account("wrong"))).await;
        assert!(wrong.code == Some(1) && wrong.err.contains("535"), "{wrong:?}");
        assert!(!wrong.err.contains("another one"), "{wrong:?}");
        let mail = server.took();
        assert_eq!(
            (&mail["tls"], &mail["account"], &mail["from"]),
            (&true.into(), &"rack".into(), &"rack@example.net".into())
        );
        assert_eq!(mail["to"], serde_json::json!(["ops@example.net", "boss@example.net"]));
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains("Subject: [lab] controller: somebody wanted to know"), "{text}");
        assert!(text.contains("    rackwright status"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_gets_nothing_where_tls_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    certified(folder.path());
    let mut server = Server::start(folder.path(), "never");
    let state = tempfile::tempdir().unwrap();
    let controller = Controller::start_as(state.path(), &said(&server, "")).await;
    let ran = rackwright(&controller, "notify test").await;
    assert!(ran.code == Some(1) && ran.err.contains("by localhost:"), "{ran:?}");
    controller.stop().await;
    // Both ways at once: what does not arrive by one arrives by the other.
    let both = format!("[notify]\nwebhook = \"http://127.0.0.2:9/\"\n{}", said(&server, "tls = \"never\"\n"));
    let controller = Controller::start_as(state.path(), &both).await;
    let ran = rackwright(&controller, "notify test").await;
    assert!(ran.code == Some(1) && ran.err.contains("connecting to http://127.0.0.2:9"), "{ran:?}");
    let mail = server.took();
    assert_eq!((&mail["tls"], &mail["account"]), (&false.into(), &Value::Null));
    controller.stop().await;
}
