//! Secrets leave the sidecar only to the issuer and into its files.

use std::collections::BTreeSet;
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::wait;
use jiff::SignedDuration;

use super::{LIMIT, NAME, SECRET, Sidecar};

const MISTYPED: &str = "mistyped-but-close-to-another-password";

#[tokio::test]
async fn no_password_token_or_refresh_token_is_in_logs_metrics_pages_or_the_record_of_a_full_life() {
    let mut sidecar = Sidecar::prepare(Duration::from_secs(5)).await;
    sidecar.log_filter = "trace";
    sidecar.add(&["--strategy", "auto", "--hook-touch", sidecar.path("touched").to_str().unwrap()]);
    let upstream = sidecar.issuer.url();
    sidecar.add(&["--proxy-listen", "0", "--upstream", &upstream]);
    sidecar.write_login(NAME, MISTYPED);
    sidecar.start().await;
    let mut told = sidecar.until_told("LoginRejected").await;
    sidecar.write_login(NAME, SECRET);
    let mut secrets = BTreeSet::from([NAME, SECRET, MISTYPED].map(str::to_owned));
    let mut token = sidecar.token().await;
    secrets.insert(token.clone());
    let echo = format!("{SECRET} is not the password of {NAME}");
    for fault in [
        Fault::Garbage,
        Fault::Truncated,
        Fault::Status { status: 500, retry_after: None, body: Some(echo.clone()) },
        Fault::Lost,
        Fault::Oversize { bytes: 100_000 },
        Fault::Status { status: 404, retry_after: None, body: Some(echo) },
    ] {
        sidecar.issuer.inject(FaultRule::new(fault).once());
    }
    wait::until("all faults met", LIMIT * 2, async || {
        if let Some(token) = sidecar.file("token") {
            secrets.insert(token);
        }
        sidecar.issuer.personality().faults.is_empty()
    })
    .await;
    token = sidecar.token_after(&token).await;
    secrets.insert(token);
    // Through the proxy, with a token of the program's own, over both versions of HTTP, and with one called expired.
    let proxied = format!("http://{}/v2/authorized", sidecar.logged_address("address").await);
    let second = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for client in [reqwest::Client::new(), second] {
        let own = "a-token-of-the-programs-own";
        let answer = client.get(&proxied).bearer_auth(own).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        secrets.insert(own.to_owned());
        secrets.insert(sidecar.file("token").unwrap());
    }
    sidecar.issuer.configure(|personality| personality.clock_offset += SignedDuration::from_hours(1));
    assert_eq!(reqwest::get(&proxied).await.unwrap().status(), 200);
    secrets.insert(sidecar.file("token").unwrap());
    for page in ["/startup", "/readyz", "/livez", "/metrics"] {
        told += &sidecar.page(page).await.1;
    }
    let record = sidecar.file("..login.json").unwrap();
    assert!(record.contains("Accepted"), "{record}");
    sidecar.stop().await;
    let log = std::fs::read_to_string(sidecar.path("sidecar-1.log")).unwrap();
    assert!(log.contains("token published") && log.contains("hook succeeded"), "{log}");
    for (place, text) in [("the log", log), ("a page", told), ("the record", record)] {
        for secret in &secrets {
            let position = text.find(secret.as_str());
            let line = position.map(|position| text[..position].lines().count());
            assert!(line.is_none(), "{place}, line {line:?}, holds {secret}");
        }
    }
}
