//! The service of a machine without a cluster: `deploy/samples/vm/idissuer.service`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{HOUR, Sidecar};

/// The values of a setting of the service, in order.
fn settings<'a>(service: &'a str, name: &str) -> Vec<&'a str> {
    service.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[tokio::test]
async fn the_service_keeps_a_valid_token_and_a_restart_of_it_is_no_login() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples/vm/idissuer.service");
    let service = fs::read_to_string(path).unwrap();
    let logins = settings(&service, "LoadCredential");
    assert_eq!(logins, ["username:/etc/idissuer/username", "password:/etc/idissuer/password"]);
    let [command] = settings(&service, "ExecStart")[..] else { panic!("not one command: {service}") };
    let arguments = command.strip_prefix("/usr/local/bin/idissuer ").expect("the program of the page");

    let mut sidecar = Sidecar::prepare(Duration::from_secs(4)).await;
    let output = sidecar.path("output").display().to_string();
    assert_eq!(settings(&service, "RuntimeDirectory"), ["idissuer"], "systemd makes it below /run");
    let replaced = |argument: &str| match argument {
        // systemd puts the files of the login into a folder of its own.
        "%d" => sidecar.path("login").display().to_string(),
        "/run/idissuer" => output.clone(),
        "127.0.0.1:9440" => "127.0.0.1:0".to_owned(),
        other => other.to_owned(),
    };
    sidecar.arguments = arguments.split(' ').map(replaced).collect();
    let url = sidecar.issuer.url();
    sidecar.add(&["--issuer-url", &url]);
    sidecar.start().await;
    let first = sidecar.token().await;
    sidecar.issuer.configure(|personality| personality.token.lifetime = HOUR);
    let second = sidecar.token_after(&first).await;
    assert_eq!(sidecar.present(&second).await, 200);

    assert_eq!(settings(&service, "RuntimeDirectoryPreserve"), ["restart"]);
    let logins = sidecar.counts().logins_accepted;
    sidecar.stop().await;
    sidecar.start().await;
    sidecar.until_answered("/startup", 200).await;
    assert_eq!((sidecar.counts().logins_accepted, sidecar.token().await), (logins, second));
}
