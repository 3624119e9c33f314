//! Answers of an issuer or proxy without a token.

use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule, Operation, RefreshAccepted};

use crate::issuers::{HOUR, Issuers};
use crate::population::login_secret;
use crate::world::{Plan, World};

const MINUTE: Duration = Duration::from_secs(60);
const PAGE: &str = "<!DOCTYPE html><title>Request blocked</title>";

fn status(status: u16, body: Option<&str>) -> Fault {
    Fault::Status { status, retry_after: None, body: body.map(str::to_owned) }
}

fn world(lifetime: Duration) -> World {
    World::new(&Plan { seed: 1, accounts: 1, credentials: 1, lease: None }, Issuers::plain(1, lifetime))
}

impl World {
    async fn restarts(&mut self) {
        for replica in &mut self.replicas {
            if let Some(stopped) = replica.stop() {
                stopped.await.unwrap();
            }
            replica.start(&self.environment);
        }
    }

    /// The times of the account's logins, in seconds since the first.
    fn logins(&self) -> Vec<i64> {
        let calls = self.calls_of(0);
        let logins = calls.iter().filter(|call| call.operation == Operation::Login);
        logins.map(|call| call.at.duration_since(calls[0].at).as_secs()).collect()
    }

    fn rejections(&self) -> u64 {
        let status = &self.credential(&self.population.credentials[0])["status"];
        status["login"]["rejections"].as_u64().unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_never_accepted_is_presented_three_times_for_every_answer_without_a_token() {
    let answers = [
        ("IssuerResponseInvalid", status(200, Some(r#"{"success": false}"#))),
        ("IssuerResponseInvalid", status(200, None)),
        ("IssuerResponseInvalid", Fault::Garbage),
        ("IssuerResponseInvalid", Fault::Truncated),
        ("IssuerResponseInvalid", Fault::Oversize { bytes: 100_000 }),
        ("IssuerResponseInvalid", status(201, None)),
        ("IssuerResponseInvalid", status(204, None)),
        ("IssuerMisconfigured", status(302, None)),
        ("IssuerMisconfigured", status(404, None)),
        ("IssuerMisconfigured", status(404, Some(PAGE))),
        ("IssuerMisconfigured", status(405, None)),
        ("IssuerMisconfigured", status(415, None)),
        ("IssuerBlocked", status(403, Some(PAGE))),
        ("IssuerBlocked", status(401, Some("Unauthorized"))),
        ("IssuerBlocked", status(407, None)),
        ("IssuerBlocked", status(451, None)),
        ("IssuerMisdirected", status(421, None)),
        ("IssuerResponseIncomplete", Fault::Cut),
        ("IssuerResponseIncomplete", Fault::Trickle { interval: HOUR }),
        ("LoginRejected", status(422, None)),
    ];
    for (reason, answer) in answers {
        let mut world = world(HOUR);
        let credential = world.population.credentials[0].clone();
        world.environment.issuers.get(0).simulator.inject(FaultRule::on_login(answer.clone()));
        world.start();
        for restart in 0..3 {
            world.pass(2 * MINUTE).await;
            let status = &world.credential(&credential)["status"];
            let stalled = world.condition(&credential, "Stalled").map(|(_, reason)| reason);
            assert_eq!(stalled.as_deref(), Some(reason), "{answer:?}, {restart}: {status:#}");
            let told = world.condition(&credential, "LoginAccepted").unwrap();
            assert_eq!(told, ("False".to_owned(), reason.to_owned()), "{answer:?}, {restart}");
            world.restarts().await;
        }
        world.pass(4 * HOUR).await;
        let logins = world.logins();
        assert_eq!(logins.len(), 3, "{answer:?}: {logins:?}");
        assert!(logins[1] >= 300 && logins[2] - logins[1] >= 300, "{answer:?}: {logins:?}");
        assert_eq!(world.rejections(), 3, "{answer:?}");
        assert_eq!(world.condition(&credential, "Stalled").unwrap().1, reason, "{answer:?}");

        // After the correction the user requests a renewal.
        world.end_faults(0);
        world.write(&login_secret(&credential.namespace, &world.population.accounts[0], "another"));
        world.pass(Duration::from_secs(5)).await;
        world.write(&login_secret(
            &credential.namespace,
            &world.population.accounts[0],
            &world.population.accounts[0].password,
        ));
        world.edits(&credential, &serde_json::json!({"renewal": {"renewBeforePercent": 30}}));
        world.pass(Duration::from_secs(5)).await;
        world.health(&credential).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_blank_in_a_password_is_hinted_at_however_the_issuer_refuses_it() {
    for answer in
        [status(401, None), status(200, Some(r#"{"success": false}"#)), status(302, None), status(404, None)]
    {
        let mut world = world(HOUR);
        let credential = world.population.credentials[0].clone();
        world.write(&login_secret(&credential.namespace, &world.population.accounts[0], "two words"));
        world.environment.issuers.get(0).simulator.inject(FaultRule::on_login(answer.clone()));
        world.start();
        for restart in 0..2 {
            world.pass(2 * MINUTE).await;
            let told = world.credential(&credential)["status"]["conditions"].to_string();
            assert!(told.contains("The password holds a blank"), "{answer:?}, {restart}: {told}");
            world.restarts().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_not_now_costs_a_new_login_nothing() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        let mut world = world(HOUR);
        let credential = world.population.credentials[0].clone();
        world.environment.issuers.get(0).simulator.inject(FaultRule::on_login(status(code, Some(PAGE))));
        world.start();
        world.pass(10 * MINUTE).await;
        assert!(world.logins().len() > 8, "{code}: {:?}", world.logins());
        world.end_faults(0);
        world.pass(MINUTE + Duration::from_secs(5)).await;
        world.health(&credential).unwrap();
        assert_eq!(world.rejections(), 0, "{code}");
    }
}

/// At the time of a renewal something before the issuer answers for six minutes; both a refresh and a login meet it.
#[tokio::test(start_paused = true)]
async fn a_block_of_a_login_that_was_accepted_is_over_a_minute_after_it_ends() {
    let blocks = [
        ("IssuerBlocked", status(403, Some(PAGE))),
        ("IssuerBlocked", status(401, Some(PAGE))),
        ("IssuerBlocked", status(406, Some(PAGE))),
        ("IssuerBlocked", status(403, Some("RBAC: access denied"))),
        ("IssuerBlocked", status(403, Some("error code: 1020"))),
        ("IssuerBlocked", status(407, None)),
        ("IssuerBlocked", status(451, None)),
        ("IssuerMisdirected", status(421, None)),
    ];
    for (reason, block) in blocks {
        for accepted in [RefreshAccepted::Early, RefreshAccepted::Never] {
            let mut world = world(HOUR);
            let credential = world.population.credentials[0].clone();
            let simulator = world.environment.issuers.get(0).simulator.clone();
            simulator.configure(|personality| personality.refresh.accepted = accepted);
            world.start();
            world.pass(42 * MINUTE).await;
            let before = world.token(&credential).unwrap();
            world.start_fault(0, FaultRule::new(block.clone()));
            world.pass(6 * MINUTE).await;
            let told = world.credential(&credential)["status"]["failures"]["reason"].clone();
            assert_eq!(told, reason, "{block:?}, {accepted:?}");
            assert_eq!(world.token(&credential).as_ref(), Some(&before));
            world.end_faults(0);
            world.pass(MINUTE + Duration::from_secs(5)).await;
            assert_ne!(world.token(&credential), Some(before), "{block:?}, {accepted:?}");
            assert_eq!(world.rejections(), 0, "{block:?}, {accepted:?}");
            world.assert_healthy();
            // What has certainly not come to the issuer leaves the refresh token as it was.
            let is_unspent =
                accepted == RefreshAccepted::Early && matches!(&block, Fault::Status { body: None, .. });
            assert_eq!(world.environment.ledger.calls().logins == 1, is_unspent, "{block:?}, {accepted:?}");
        }
    }
}

/// An issuer that refuses a password in HTML looks like a block: it must not lock the account whose password was changed.
#[tokio::test(start_paused = true)]
async fn during_a_long_block_a_login_is_attempted_every_fifteen_minutes_until_the_issuer_answers() {
    for block in [status(401, Some(PAGE)), status(403, Some("RBAC: access denied"))] {
        let mut world = world(HOUR);
        let credential = world.population.credentials[0].clone();
        world.start();
        world.pass(42 * MINUTE).await;
        let before = world.token(&credential).unwrap();
        world.environment.issuers.get(0).simulator.inject(FaultRule::new(block.clone()));
        world.pass(21 * MINUTE).await;
        let begun = world.logins().len();
        world.pass(4 * HOUR).await;
        let later = world.logins().len() - begun;
        assert!((15..=17).contains(&later), "{block:?}: {later} logins in four hours");
        assert_eq!(world.rejections(), 0, "{block:?}");
        world.end_faults(0);
        world.pass(15 * MINUTE + Duration::from_secs(5)).await;
        assert_ne!(world.token(&credential), Some(before), "{block:?}");
        world.health(&credential).unwrap();
    }
}
