//! Accounts over a simulated issuer, in simulated time: deterministic, and hours take no time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use idissuer::account::Member;
use idissuer::core::account::{Next, Strategy};
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::endpoint::RefreshShape;
use idissuer::core::token::Grant;
use idissuer::issuer::TransportError;
use idissuer::ops::clock::Clock as _;
use idissuer_simulator::{DurationRange, Fault, FaultRule, RefreshAccepted};
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use crate::support::{PASSWORD, USER, make_address, make_pair, tenant};
use crate::test_process::{MOST_OF_AN_HOUR, OnTheWay, TestProcess, address, grant_of, pair};

#[tokio::test(start_paused = true)]
async fn a_hundred_requests_at_once_cost_one_login_and_each_is_notified_once() {
    let mut process = TestProcess::new(|personality| {
        personality.latency.login = DurationRange::fixed(Duration::from_secs(2));
    });
    let names: Vec<Member> = (0..100).map(|number| format!("member {number}").into()).collect();
    let sessions: Vec<_> = names
        .iter()
        .map(|name| {
            let session = process.open();
            process.join(&session, name, Strategy::Auto);
            session
        })
        .collect();
    let started = sessions.iter().filter(|session| session.obtain(&tenant(), Some(pair()), false)).count();
    assert_eq!(started, 1);
    assert!(sessions.iter().all(|session| session.view(&tenant()).next == Next::InFlight));
    let mut told = HashSet::new();
    for _ in 0..names.len() {
        told.insert(process.told.recv().await.unwrap());
    }
    assert_eq!(told, names.into_iter().collect());
    assert!(process.told_by_now().is_empty(), "nobody is told twice");
    assert!(sessions.iter().all(|session| session.view(&tenant()).token.is_some()));
    assert_eq!((process.counts().logins_accepted, process.counts().in_flight_maximum), (1, 1));
}

/// The processor time of this thread: it does not run while others do, so a busy machine does not change it.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// When all members of one account are woken, the work per member must not grow with their number.
#[tokio::test(start_paused = true)]
async fn waking_a_member_takes_as_long_with_twenty_thousand_others_as_with_two_hundred() {
    let mut shares = Vec::new();
    for count in [200_u32, 20_000] {
        let mut process = TestProcess::new(|_| ());
        let session = process.open();
        for number in 0..count {
            process.join(&session, &format!("member {number}"), Strategy::Auto);
        }
        session.obtain(&tenant(), Some(pair()), false);
        let first = process.told.recv().await.unwrap();
        let start = processor_time();
        let told = std::iter::once(first).chain(process.told_by_now());
        let views = told.map(|_| session.view(&tenant())).filter(|view| view.token.is_some()).count();
        assert_eq!(views, count as usize);
        shares.push(processor_time().saturating_sub(start) / count);
    }
    eprintln!("a member's share: {shares:?}");
    assert!(shares[1] < shares[0] * 10, "{shares:?}");
}

/// When many accounts want their first token, the work per account must not grow with their number.
#[tokio::test(start_paused = true)]
async fn a_first_login_takes_as_long_while_ten_thousand_others_wait_as_with_two_hundred() {
    let mut shares = Vec::new();
    for count in [200_u32, 10_000] {
        let process = TestProcess::new(|_| ());
        let start = processor_time();
        for number in 0..count {
            let (name, pair) = (format!("member {number}"), || make_pair(&format!("user {number}"), "x"));
            let session = process.accounts.open(address(), &pair(), "login");
            process.join(&session, &name, Strategy::Auto);
            assert!(session.obtain(&tenant(), Some(pair()), false));
            assert_eq!(session.view(&tenant()).next, Next::InFlight);
        }
        shares.push(processor_time().saturating_sub(start) / count);
    }
    eprintln!("an account's share: {shares:?}");
    assert!(shares[1] < shares[0] * 4, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_threads_of_work_cost_one_login_as_well() {
    let process = TestProcess::new(|personality| {
        personality.latency.login = DurationRange::fixed(Duration::from_millis(50));
    });
    let start = Arc::new(tokio::sync::Barrier::new(100));
    let asking = (0..100).map(|number| {
        let (accounts, start) = (Arc::clone(&process.accounts), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            let session = accounts.open(address(), &pair(), "billing-login");
            let membership = session.join(format!("member {number}").into(), Strategy::Auto);
            (session.obtain(&tenant(), Some(pair()), false), membership)
        })
    });
    let started = futures::future::join_all(asking).await;
    assert_eq!(started.iter().filter(|started| started.as_ref().unwrap().0).count(), 1);
    process.simulator.wait_for(|counts| counts.of(USER).logins_accepted == 1).await;
    process.stop.cancel();
    process.accounts.drain().await;
    assert_eq!((process.counts().logins_accepted, process.counts().in_flight_maximum), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn members_that_join_during_a_call_are_notified_and_those_that_left_are_not() {
    let mut process = TestProcess::new(|personality| {
        personality.latency.login = DurationRange::fixed(Duration::from_secs(2));
    });
    let session = process.joined(Strategy::Auto);
    process.join(&session, "leaves", Strategy::Auto);
    session.obtain(&tenant(), Some(pair()), false);
    sleep(Duration::from_secs(1)).await;
    process.leave("leaves");
    process.join(&session, "joins", Strategy::Auto);
    let told = HashSet::from([process.told.recv().await.unwrap(), process.told.recv().await.unwrap()]);
    assert_eq!(told, HashSet::from(["member".into(), "joins".into()]));
    sleep(Duration::from_secs(60)).await;
    assert!(process.told_by_now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn logins_that_differ_in_anything_have_sessions_of_their_own() {
    let process = TestProcess::new(|_| ());
    let session = process.open();
    assert!(Arc::ptr_eq(&session, &process.accounts.open(address(), &pair(), "another Secret")));
    let nested = make_address(address().endpoint.origin, None, None, RefreshShape::Nested);
    let path = make_address(address().endpoint.origin, None, Some("/r"), RefreshShape::Flat);
    for (address, pair) in [
        (address(), make_pair(USER, "another")),
        (address(), make_pair("another@example.org", PASSWORD)),
        (nested, pair()),
        (path, pair()),
    ] {
        let other = process.accounts.open(address, &pair, "billing-login");
        assert!(!Arc::ptr_eq(&session, &other));
        assert_ne!(session.key(), other.key());
    }
}

#[tokio::test(start_paused = true)]
async fn renewals_are_refreshes_and_nothing_is_obtained_twice_within_a_minute() {
    let mut process = TestProcess::new(|_| ());
    let session = process.due().await;
    let before = session.view(&tenant()).token.unwrap();
    process.obtain(&session).await;
    let after = session.view(&tenant()).token.unwrap();
    assert_eq!(after.grant, Grant::Refresh);
    assert_ne!(before.fingerprint, after.fingerprint);
    assert!(!session.obtain(&tenant(), Some(pair()), false), "what was just obtained serves whoever asks");
    assert!(!session.obtain(&tenant(), Some(pair()), true), "a request to renew as well");
    sleep(Duration::from_secs(61)).await;
    process.obtain(&session).await;
    assert_eq!((process.counts().logins_accepted, process.counts().refreshes_accepted), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_refresh_is_followed_by_exactly_one_login_at_once() {
    for status in [400, 401, 403, 404, 200] {
        let mut process = TestProcess::new(|personality| {
            personality.refresh.accepted = RefreshAccepted::Never;
            personality.refresh.refused_status = status;
        });
        let session = process.due().await;
        let start = Instant::now();
        process.obtain(&session).await;
        // Every notified member asks again.
        assert_eq!(session.view(&tenant()).next, Next::Login, "{status}");
        assert_eq!(session.view(&tenant()).last_failure, None, "{status}: no failure");
        process.obtain(&session).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "{status}: at once");
        assert!(!session.obtain(&tenant(), Some(pair()), false), "{status}: and not again");
        let counts = process.counts();
        assert_eq!((counts.logins_accepted, counts.refreshes_refused), (2, 1), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_rejected_after_a_refused_refresh_is_tried_thrice_and_then_once_an_hour() {
    let mut process = TestProcess::new(|personality| personality.refresh.accepted = RefreshAccepted::Never);
    let session = process.due().await;
    process.simulator.set_user(&idissuer_simulator::User::new(USER, "changed"));
    process.obtain(&session).await;
    process.obtain(&session).await;
    let first = Instant::now();
    let mut minutes = Vec::new();
    while first.elapsed() < Duration::from_secs(4 * 3600) {
        assert!(matches!(session.view(&tenant()).next, Next::Wait(_)), "{:?}", session.view(&tenant()).next);
        assert!(!session.obtain(&tenant(), Some(pair()), false), "not before its time");
        sleep(Duration::from_secs(60)).await;
        if session.view(&tenant()).next == Next::Login {
            minutes.push(first.elapsed().as_secs() / 60);
            process.obtain(&session).await;
        }
    }
    assert_eq!(minutes, [5, 15, 75, 135, 195]);
    assert!(session.obtain(&tenant(), Some(pair()), true), "a lift allows one attempt");
    process.told.recv().await.unwrap();
    assert!(!session.obtain(&tenant(), Some(pair()), false), "and one only");
    assert_eq!(process.counts().logins_rejected, 7);
}

#[tokio::test(start_paused = true)]
async fn a_login_without_a_pair_is_not_started_and_a_refresh_needs_none() {
    let mut process = TestProcess::new(|_| ());
    let session = process.joined(Strategy::Auto);
    assert!(!session.obtain(&tenant(), None, false));
    assert_eq!(session.view(&tenant()).next, Next::Login, "and can still be");
    process.obtain(&session).await;
    sleep(MOST_OF_AN_HOUR).await;
    assert!(session.obtain(&tenant(), None, false));
    process.told.recv().await.unwrap();
    assert_eq!(grant_of(&session), Some(Grant::Refresh));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_certainly_not_sent_or_not_carried_out_is_presented_again() {
    let later = Fault::retry_after(429, idissuer_simulator::RetryAfter::Seconds(30));
    for name in ["unreachable", "TLS", "429"] {
        let mut process = TestProcess::new(|_| ());
        let session = process.due().await;
        match name {
            "unreachable" => {
                process.meets(OnTheWay::Fails(TransportError::not_sent(ConnectionFailure::Refused)));
            }
            "TLS" => {
                process.meets(OnTheWay::Fails(TransportError::not_sent(
                    ConnectionFailure::CertificateUntrusted,
                )));
            }
            _ => process.simulator.inject(FaultRule::on_refresh(later.clone()).once()),
        }
        process.obtain(&session).await;
        let Next::Wait(at) = session.view(&tenant()).next else { panic!("{name}: no wait after a failure") };
        assert!(!session.obtain(&tenant(), Some(pair()), false), "{name}: not before its time");
        sleep(at.remaining(process.clock.now()).unsigned_abs()).await;
        assert_eq!(session.view(&tenant()).next, Next::Refresh, "{name}");
        process.obtain(&session).await;
        assert_eq!(grant_of(&session), Some(Grant::Refresh), "{name}");
        assert_eq!(
            (process.counts().logins_accepted, process.counts().refresh_tokens_reused),
            (1, 0),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_whose_answer_was_lost_is_never_presented_again() {
    for (name, rule) in [
        ("lost", FaultRule::on_refresh(Fault::Lost)),
        ("too late", FaultRule::on_refresh(Fault::Hang).after_work()),
        ("cut", FaultRule::on_refresh(Fault::Cut)),
        ("no HTTP", FaultRule::on_refresh(Fault::NotHttp)),
        ("500", FaultRule::on_refresh(Fault::status(500)).after_work()),
        ("503 before any work", FaultRule::on_refresh(Fault::status(503))),
        ("garbage", FaultRule::on_refresh(Fault::Garbage)),
        ("truncated", FaultRule::on_refresh(Fault::Truncated)),
        ("oversize token", FaultRule::on_refresh(Fault::Oversize { bytes: 100_000 })),
    ] {
        let mut process = TestProcess::new(|_| ());
        let session = process.due().await;
        process.simulator.inject(rule.once());
        process.obtain(&session).await;
        if let Next::Wait(at) = session.view(&tenant()).next {
            sleep(at.remaining(process.clock.now()).unsigned_abs()).await;
        }
        let is_renewed = grant_of(&session) == Some(Grant::Refresh);
        assert_eq!(session.view(&tenant()).next == Next::Login, !is_renewed, "{name}");
        if !is_renewed {
            process.obtain(&session).await;
        }
        assert_eq!(process.counts().refresh_tokens_reused, 0, "{name}");
        assert!(session.view(&tenant()).last_failure.is_none(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_month_of_faults_never_presents_a_spent_refresh_token() {
    let rule = |fault, chance| FaultRule::new(fault).chance(chance);
    let mut process = TestProcess::new(|personality| {
        personality.faults = vec![
            rule(Fault::Lost, 0.2),
            rule(Fault::Cut, 0.1),
            rule(Fault::NotHttp, 0.1),
            rule(Fault::Hang, 0.1).after_work(),
            rule(Fault::status(500), 0.1).after_work(),
            rule(Fault::status(429), 0.1),
            rule(Fault::Truncated, 0.02),
        ];
    });
    let session = process.joined(Strategy::Auto);
    let end = Duration::from_secs(30 * 24 * 3600);
    while process.clock.start.elapsed() < end {
        match session.view(&tenant()).next {
            Next::Wait(at) => sleep(at.remaining(process.clock.now()).unsigned_abs()).await,
            Next::Refresh | Next::Login => {
                let before = session.view(&tenant()).token.map(|token| token.fingerprint.clone());
                process.obtain(&session).await;
                if session.view(&tenant()).token.map(|token| token.fingerprint.clone()) != before {
                    sleep(MOST_OF_AN_HOUR).await;
                }
            }
            Next::InFlight | Next::Held => panic!("{:?}", session.view(&tenant())),
        }
    }
    let counts = process.counts();
    assert_eq!((counts.refresh_tokens_reused, counts.logins_rejected, counts.in_flight_maximum), (0, 0, 1));
    assert!(counts.refreshes_accepted > 200 && counts.faults > 200, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn one_member_that_wants_logins_makes_all_log_in_until_it_leaves() {
    let mut process = TestProcess::new(|_| ());
    let session = process.due().await;
    process.join(&session, "strict", Strategy::Login);
    assert_eq!(session.view(&tenant()).next, Next::Login);
    process.leave("strict");
    assert_eq!(session.view(&tenant()).next, Next::Refresh);
    process.join(&session, "member", Strategy::Login);
    process.obtain(&session).await;
    assert_eq!(grant_of(&session), Some(Grant::Login), "a member may change its mind");
}

#[tokio::test(start_paused = true)]
async fn when_the_process_stops_a_call_is_given_three_seconds_and_then_given_up() {
    let mut process = TestProcess::new(|_| ());
    let session = process.due().await;
    process.simulator.inject(FaultRule::on_refresh(Fault::Hang).after_work());
    session.obtain(&tenant(), Some(pair()), false);
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    process.stop.cancel();
    process.accounts.drain().await;
    // The runtime's timers have a grain of a millisecond.
    let over = start.elapsed().checked_sub(Duration::from_secs(3)).unwrap();
    assert!(over < Duration::from_millis(5), "{over:?}");
    assert_eq!(process.told_by_now().len(), 1, "its members are told");
    assert_eq!(session.view(&tenant()).next, Next::Login, "its refresh token counts as spent");
    assert!(!session.obtain(&tenant(), Some(pair()), true), "and nothing is started any more");
    assert_eq!((process.counts().logins_accepted, process.counts().refresh_tokens_reused), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_within_the_grace_is_still_taken() {
    let mut process = TestProcess::new(|personality| {
        personality.latency.login = DurationRange::fixed(Duration::from_millis(2900));
    });
    let session = process.joined(Strategy::Auto);
    session.obtain(&tenant(), Some(pair()), false);
    tokio::task::yield_now().await;
    process.stop.cancel();
    process.accounts.drain().await;
    assert!(session.view(&tenant()).token.is_some());
    assert_eq!(process.told_by_now().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn stopping_with_nothing_in_flight_takes_no_time() {
    let mut process = TestProcess::new(|_| ());
    let session = process.joined(Strategy::Auto);
    process.obtain(&session).await;
    let start = Instant::now();
    process.stop.cancel();
    process.accounts.drain().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_call_leaves_no_session_behind_that_waits_for_ever() {
    let mut process = TestProcess::new(|_| ());
    let session = process.joined(Strategy::Auto);
    process.meets(OnTheWay::Panics);
    process.obtain(&session).await;
    assert_eq!(session.view(&tenant()).next, Next::Login);
    process.obtain(&session).await;
    assert!(session.view(&tenant()).token.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_session_outlives_its_last_member_by_an_hour_with_its_token() {
    let mut process = TestProcess::new(|_| ());
    let session = process.joined(Strategy::Auto);
    process.obtain(&session).await;
    sleep(Duration::from_secs(5 * 3600)).await;
    process.leave("member");
    let (token, kept) = (session.view(&tenant()).token, Arc::downgrade(&session));
    drop(session);
    let sweep = || process.accounts.open(address(), &make_pair("another@example.org", "x"), "another");
    sleep(Duration::from_secs(59 * 60)).await;
    sweep();
    let session = process.open();
    assert!(session.view(&tenant()).token.is_some() && Arc::ptr_eq(&session, &kept.upgrade().unwrap()));
    assert_eq!(
        session.view(&tenant()).token.map(|token| token.fingerprint.clone()),
        token.map(|token| token.fingerprint.clone())
    );
    drop(session);
    sleep(Duration::from_secs(2 * 60)).await;
    sweep();
    assert!(kept.upgrade().is_none(), "its hour is over");
    assert!(process.open().view(&tenant()).token.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_credential_suspended_for_hours_returns_to_the_session_of_the_others() {
    let process = TestProcess::new(|_| ());
    let session = process.joined(Strategy::Auto);
    process.leave("member");
    sleep(Duration::from_secs(5 * 3600)).await;
    process.accounts.open(address(), &make_pair("another@example.org", "x"), "another");
    process.join(&session, "member", Strategy::Auto);
    assert!(Arc::ptr_eq(&session, &process.open()));
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_member_is_kept_however_long_nothing_happens() {
    let process = TestProcess::new(|_| ());
    let kept = Arc::downgrade(&process.joined(Strategy::Auto));
    sleep(Duration::from_secs(100 * 3600)).await;
    process.accounts.open(address(), &make_pair("another@example.org", "x"), "another");
    assert!(kept.upgrade().is_some());
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_operation_and_outcome() {
    let mut process =
        TestProcess::new(|personality| personality.clock_offset = SignedDuration::from_secs(90));
    let session = process.due().await;
    process.simulator.inject(FaultRule::on_refresh(Fault::Lost).once());
    process.obtain(&session).await;
    let text = process.metrics.render(idissuer::ops::metrics::TextFormat::Prometheus).unwrap();
    for line in [
        r#"idissuer_issuer_requests_total{operation="login",outcome="ok"} 1"#,
        r#"idissuer_issuer_requests_total{operation="refresh",outcome="broken"} 1"#,
        r#"idissuer_issuer_clock_skew_seconds{origin="https://api.idissuer.pl"} 90.0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
}
