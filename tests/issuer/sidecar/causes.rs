//! Issuers that answer oddly, move, or cannot be reached: what the sidecar uses and reports.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use idissuer_simulator::{Compression, ExpiresIn, Fault, FaultRule, TokenFormat};
use idissuer_testbed::{skip, wait};
use rcgen::{BasicConstraints, IsCa};
use tokio::io::AsyncWriteExt as _;

use super::{HOUR, LIMIT, Sidecar};
use crate::certificates::{Identity, serve};
use crate::support::{RawServer, drain, good_answer, http};

/// A sidecar whose issuer is at another address, with a certificate of this authority if it has one.
async fn calling(url: &str, ca_pem: Option<&str>) -> Sidecar {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let position = sidecar.arguments.iter().position(|argument| argument == "--issuer-url").unwrap() + 1;
    url.clone_into(&mut sidecar.arguments[position]);
    if let Some(pem) = ca_pem {
        let file = sidecar.path("ca.crt");
        std::fs::write(&file, pem).unwrap();
        sidecar.add(&["--issuer-ca-file", file.to_str().unwrap()]);
    }
    sidecar.start().await;
    sidecar
}

#[tokio::test]
async fn each_fault_of_a_certificate_is_reported_with_a_cure_that_works() {
    let here = &["127.0.0.1"];
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    let past = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let cases = [
        (Identity::make(here, past), "IssuerCertificateExpired", "renew it"),
        (
            Identity::make(&["localhost"], |_| ()),
            "IssuerCertificateWrongHost",
            "correct the host in --issuer-url",
        ),
        (Identity::make(&[], |_| ()), "IssuerCertificateWithoutName", "subjectAltName"),
        (Identity::authority(here, authority), "IssuerCertificateIsCA", "CA:FALSE"),
        (
            Identity::self_signed(here),
            "IssuerCertificateUntrusted",
            "the CA that issued it into --issuer-ca-file",
        ),
    ];
    for (identity, reason, cure) in cases {
        let server = serve(&identity).await;
        let sidecar = calling(&server.https_url(), Some(&identity.ca_pem)).await;
        let text = sidecar.until_told(reason).await;
        assert!(text.contains(cure) && text.contains(&server.https_url()), "{text}");
        assert!(sidecar.output().contains(cure), "the log as well");
    }
}

#[tokio::test]
async fn a_failed_connection_is_reported_with_the_address() {
    let plain = RawServer::start(|mut stream, _| async move {
        let _ = stream.write_all(http("400 Bad Request", "", "").as_bytes()).await;
        drain(&mut stream).await;
    })
    .await;
    let cases = [
        (plain.https_url(), "IssuerWithoutTls", "does not speak TLS"),
        ("https://127.0.0.1:1".to_owned(), "IssuerUnreachable", "is refused"),
        ("https://issuer.invalid".to_owned(), "IssuerUnreachable", "does not resolve"),
    ];
    for (url, reason, phrase) in cases {
        let sidecar = calling(&url, None).await;
        let text = sidecar.until_told(reason).await;
        assert!(text.contains(phrase) && text.contains(&url), "{text}");
    }
}

#[tokio::test]
async fn errors_of_the_upstream_of_the_proxy_are_reported_to_the_program() {
    let past = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let (here, expired) = (Identity::make(&["127.0.0.1"], |_| ()), Identity::make(&["127.0.0.1"], past));
    let (untrusted, dead) = (serve(&here).await, serve(&expired).await);
    for (url, reason, phrase) in [
        (untrusted.https_url(), "UpstreamTlsFailed", "into --upstream-ca-file"),
        (dead.https_url(), "UpstreamTlsFailed", "its certificate has expired"),
        ("http://127.0.0.1:1".to_owned(), "UpstreamUnreachable", "the connection is refused"),
        ("https://upstream.invalid".to_owned(), "UpstreamUnreachable", "its name does not resolve"),
    ] {
        let mut sidecar = Sidecar::prepare(HOUR).await;
        std::fs::write(sidecar.path("ca.crt"), &expired.ca_pem).unwrap();
        let file = sidecar.path("ca.crt");
        sidecar.add(&["--proxy-listen", "0", "--upstream", &url]);
        if url.starts_with("https") {
            sidecar.add(&["--upstream-ca-file", file.to_str().unwrap()]);
        }
        sidecar.start().await;
        let proxy = sidecar.logged_address("address").await;
        sidecar.until_answered("/startup", 200).await;
        let text = reqwest::get(format!("http://{proxy}/")).await.unwrap().text().await.unwrap();
        assert!(text.contains(reason) && text.contains(phrase), "{text}");
    }
}

#[tokio::test]
async fn a_lack_of_file_descriptors_is_named_as_such_and_heals() {
    let mut sidecar = Sidecar::prepare(Duration::from_secs(4)).await;
    sidecar.issuer.inject(FaultRule::new(Fault::status(503)));
    sidecar.start().await;
    sidecar.until_logged("IssuerUnavailable").await;
    let pid = sidecar.process().pid();
    let limit = |number: usize| {
        let number = format!("--nofile={number}:");
        Command::new("prlimit")
            .args(["--pid", &pid.to_string(), &number])
            .status()
            .is_ok_and(|it| it.success())
    };
    if !limit(1) {
        skip("prlimit is not here");
        return;
    }
    sidecar.until_logged("TooManyOpenFiles").await;
    assert!(sidecar.output().contains("no file descriptor left"));
    sidecar.issuer.configure(|personality| personality.faults.clear());
    assert!(limit(1024));
    sidecar.token().await;
}

#[tokio::test]
async fn a_jwt_without_iat_or_with_an_old_one_is_renewed_before_its_exp() {
    for format in [TokenFormat::JwtWithoutIat, TokenFormat::JwtOfAnHourAgo] {
        let mut sidecar = Sidecar::prepare(Duration::from_secs(4)).await;
        sidecar.issuer.configure(|personality| {
            personality.token.format = format;
            personality.token.expires_in = ExpiresIn::Json(3600.into());
            // Both clocks may be hours apart.
            personality.clock_offset = jiff::SignedDuration::from_hours(5);
        });
        sidecar.start().await;
        let first = sidecar.token().await;
        let second = sidecar.token_after(&first).await;
        assert_eq!(sidecar.present(&second).await, 200, "{format:?}");
    }
}

#[tokio::test]
async fn an_answer_with_a_byte_order_mark_or_compressed_unasked_brings_a_token() {
    let compressed = [Compression::Gzip, Compression::Deflate, Compression::BareDeflate];
    for fault in compressed.map(|by| Fault::Compressed { by }).into_iter().chain([Fault::ByteOrderMark]) {
        let mut sidecar = Sidecar::prepare(HOUR).await;
        sidecar.issuer.inject(FaultRule::new(fault));
        sidecar.start().await;
        let token = sidecar.token().await;
        assert_eq!(sidecar.present(&token).await, 200);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_names_why() {
    for (headers, body, why) in [
        ("", "<!DOCTYPE html>", "it is a web page (HTML), not JSON"),
        ("", r#"{"success": false}"#, "it has no access_token"),
        ("content-encoding: br\r\n", "?", "it is compressed with Brotli"),
    ] {
        let server = RawServer::answering(http("200 OK", headers, body)).await;
        let sidecar = calling(&server.url(), None).await;
        sidecar.until_logged(why).await;
    }
}

/// What is connected when the name moves stays with the old server, which from then on answers nothing but 503.
#[tokio::test]
async fn an_issuer_that_moved_is_found_after_the_first_failure() {
    let (has_moved, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let moved = Arc::clone(&has_moved);
    let server = RawServer::start(move |mut stream, requests| {
        let is_new = moved.load(Ordering::SeqCst);
        let (moved, answers) = (Arc::clone(&moved), Arc::clone(&answers));
        async move {
            while requests.read(&mut stream).await.is_some() {
                let number = answers.fetch_add(1, Ordering::SeqCst);
                let is_left_behind = moved.load(Ordering::SeqCst) && !is_new;
                let good = good_answer().replace("abc", &format!("{number:03}")).replace("3600", "4   ");
                let text = if is_left_behind { http("503 Service Unavailable", "", "moved") } else { good };
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let sidecar = calling(&server.url(), None).await;
    let first = sidecar.token().await;
    // Renewals of short-lived tokens have a connection of their own.
    let second = sidecar.token_after(&first).await;
    has_moved.store(true, Ordering::SeqCst);
    let third = sidecar.token_after(&second).await;
    sidecar.token_after(&third).await;
    wait::until("readiness", LIMIT, async || sidecar.page("/readyz").await.0 == 200).await;
}
