//! The standard variables of OpenTelemetry, as far as they concern traces over HTTP.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::span::Sampler;
use crate::issuer::{CaBundle, Trust};

/// Where a collector in the same pod listens.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// The path of traces below the address of a receiver.
const TRACES_PATH: &str = "v1/traces";
/// How long a request may take.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// The variables. Each has a flag, too; the help shows the one that turns traces on.
#[derive(Args, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "flags and variables are named by these names")]
pub struct Variables {
    /// Send traces to this OTLP receiver over HTTP, below its path v1/traces. Other `OTEL_…` variables are understood, too
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    otel_exporter_otlp_endpoint: Option<String>,
    /// Where traces go, with its path
    #[arg(long, env, hide = true, value_name = "URL")]
    otel_exporter_otlp_traces_endpoint: Option<String>,
    /// Headers of each request: `name=value,…`, percent-encoded. Set the variable rather than this flag: other users see flags
    #[arg(long, env, hide = true, value_name = "HEADERS", hide_env_values = true)]
    otel_exporter_otlp_headers: Option<SecretString>,
    /// The same for traces only
    #[arg(long, env, hide = true, value_name = "HEADERS", hide_env_values = true)]
    otel_exporter_otlp_traces_headers: Option<SecretString>,
    /// How long a request may take [default: 10000]
    #[arg(long, env, hide = true, value_name = "MILLISECONDS")]
    otel_exporter_otlp_timeout: Option<String>,
    /// The same for traces only
    #[arg(long, env, hide = true, value_name = "MILLISECONDS")]
    otel_exporter_otlp_traces_timeout: Option<String>,
    /// The CA certificates (PEM) of the receiver [default: the public CAs]
    #[arg(long, env, hide = true, value_name = "FILE")]
    otel_exporter_otlp_certificate: Option<String>,
    /// The same for traces only
    #[arg(long, env, hide = true, value_name = "FILE")]
    otel_exporter_otlp_traces_certificate: Option<String>,
    /// The protocol: always http/json, which receivers of http/protobuf understand, too; grpc is refused
    #[arg(long, env, hide = true, value_name = "PROTOCOL")]
    otel_exporter_otlp_protocol: Option<String>,
    /// The same for traces only
    #[arg(long, env, hide = true, value_name = "PROTOCOL")]
    otel_exporter_otlp_traces_protocol: Option<String>,
    /// otlp, or none for no traces
    #[arg(long, env, hide = true, value_name = "NAME")]
    otel_traces_exporter: Option<String>,
    /// Which traces are sent: `always_on`, `always_off` or `traceidratio`, each also with `parentbased_` before it
    #[arg(long, env, hide = true, value_name = "NAME")]
    otel_traces_sampler: Option<String>,
    /// The share of traces that traceidratio sends, from 0 to 1
    #[arg(long, env, hide = true, value_name = "NUMBER")]
    otel_traces_sampler_arg: Option<String>,
    /// The name that the traces carry [default: idissuer-operator or idissuer-sidecar]
    #[arg(long, env, hide = true, value_name = "NAME")]
    otel_service_name: Option<String>,
    /// More that the traces carry: `name=value,…`, percent-encoded
    #[arg(long, env, hide = true, value_name = "ATTRIBUTES")]
    otel_resource_attributes: Option<String>,
    /// true for no traces
    #[arg(long, env, hide = true, value_name = "BOOLEAN")]
    otel_sdk_disabled: Option<String>,
}

/// Where traces go, and what they carry.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) trust: Trust,
    pub(super) limit: Duration,
    pub(super) sampler: Sampler,
    pub(super) resource: Vec<(String, String)>,
}

/// A variable's value; an empty one counts as not set.
fn set(value: Option<&String>) -> Option<&str> {
    value.map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// The value for traces only, or else that for all signals.
fn either<'a>(traces: Option<&'a String>, all: Option<&'a String>) -> Option<&'a str> {
    set(traces).or_else(|| set(all))
}

impl Variables {
    /// What the variables of the program with this name say; nothing if traces are off.
    ///
    /// # Errors
    /// When a variable cannot be used; the text names it, and never shows a header.
    pub fn settings(&self, service: &str) -> Result<Option<Settings>, String> {
        let is_disabled =
            set(self.otel_sdk_disabled.as_ref()).is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let exporter = set(self.otel_traces_exporter.as_ref());
        if is_disabled || exporter == Some("none") {
            return Ok(None);
        }
        if let Some(other) = exporter.filter(|exporter| *exporter != "otlp") {
            return Err(format!("OTEL_TRACES_EXPORTER={other} is not supported; set otlp or none"));
        }
        let Some(url) = self.url(exporter.is_some())? else { return Ok(None) };
        let protocol = either(
            self.otel_exporter_otlp_traces_protocol.as_ref(),
            self.otel_exporter_otlp_protocol.as_ref(),
        );
        if let Some(other) = protocol.filter(|protocol| !matches!(*protocol, "http/json" | "http/protobuf")) {
            return Err(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL={other} is not supported; set http/json, and an endpoint that serves it"
            ));
        }
        Ok(Some(Settings {
            url,
            headers: self.headers()?,
            trust: self.trust()?,
            limit: self.limit()?,
            sampler: self.sampler()?,
            resource: self.resource(service)?,
        }))
    }

    fn url(&self, is_wanted: bool) -> Result<Option<Url>, String> {
        let (name, text) = if let Some(whole) = set(self.otel_exporter_otlp_traces_endpoint.as_ref()) {
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole.to_owned())
        } else if let Some(base) = set(self.otel_exporter_otlp_endpoint.as_ref()) {
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/{TRACES_PATH}", base.trim_end_matches('/')))
        } else if is_wanted {
            ("the default endpoint", format!("{DEFAULT_ENDPOINT}/{TRACES_PATH}"))
        } else {
            return Ok(None);
        };
        // A user and a password in it would be shown by whatever shows the URL.
        let is_usable = |url: &Url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
        };
        let url = Url::parse(&text).ok().filter(is_usable);
        url.map(Some).ok_or_else(|| {
            format!("{name} is not an http or https URL without a user; write it like {DEFAULT_ENDPOINT}")
        })
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let (of_traces, of_all) = (&self.otel_exporter_otlp_traces_headers, &self.otel_exporter_otlp_headers);
        let mut set = [of_traces, of_all].into_iter().flatten();
        let Some(text) = set.find(|text| !text.expose_secret().trim().is_empty()) else {
            return Ok(HeaderMap::new());
        };
        let defect = || "OTEL_EXPORTER_OTLP_HEADERS is not of the form name=value,name=value".to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs(text.expose_secret()).ok_or_else(defect)? {
            let name = HeaderName::try_from(name).map_err(|_| defect())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| defect())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }

    fn trust(&self) -> Result<Trust, String> {
        let file = either(
            self.otel_exporter_otlp_traces_certificate.as_ref(),
            self.otel_exporter_otlp_certificate.as_ref(),
        );
        let Some(file) = file else { return Ok(Trust::PublicRoots) };
        let pem = std::fs::read(Path::new(file))
            .map_err(|error| format!("read OTEL_EXPORTER_OTLP_CERTIFICATE {file}: {error}"))?;
        let bundle = CaBundle::parse(&pem)
            .map_err(|error| format!("OTEL_EXPORTER_OTLP_CERTIFICATE {file}: {error}"))?;
        Ok(Trust::Bundle(bundle))
    }

    fn limit(&self) -> Result<Duration, String> {
        let text =
            either(self.otel_exporter_otlp_traces_timeout.as_ref(), self.otel_exporter_otlp_timeout.as_ref());
        let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
        let milliseconds = text.parse().ok().filter(|milliseconds| *milliseconds > 0);
        milliseconds
            .map(Duration::from_millis)
            .ok_or_else(|| format!("OTEL_EXPORTER_OTLP_TIMEOUT={text} is not a number of milliseconds"))
    }

    fn sampler(&self) -> Result<Sampler, String> {
        let name = set(self.otel_traces_sampler.as_ref()).unwrap_or("always_on");
        let share = set(self.otel_traces_sampler_arg.as_ref());
        // No renewal has a parent elsewhere.
        match name.strip_prefix("parentbased_").unwrap_or(name) {
            "always_on" => Some(Sampler::ALL),
            "always_off" => Sampler::share(0.0),
            "traceidratio" => share.map_or(Some(1.0), |share| share.parse().ok()).and_then(Sampler::share),
            _ => None,
        }
        .ok_or_else(|| {
            format!(
                "OTEL_TRACES_SAMPLER={name} with OTEL_TRACES_SAMPLER_ARG={} is not supported; set always_on, always_off, or traceidratio with a number from 0 to 1",
                share.unwrap_or_default()
            )
        })
    }

    fn resource(&self, service: &str) -> Result<Vec<(String, String)>, String> {
        let text = set(self.otel_resource_attributes.as_ref()).unwrap_or_default();
        let given = pairs(text)
            .ok_or_else(|| "OTEL_RESOURCE_ATTRIBUTES is not of the form name=value,name=value".to_owned())?;
        let mut resource = vec![
            ("service.name".to_owned(), service.to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let named =
            set(self.otel_service_name.as_ref()).map(|name| ("service.name".to_owned(), name.to_owned()));
        for (key, value) in given.into_iter().chain(named) {
            resource.retain(|(known, _)| *known != key);
            resource.push((key, value));
        }
        Ok(resource)
    }
}

impl Settings {
    /// The receiver, for people.
    pub(super) fn receiver(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

#[cfg(test)]
impl Variables {
    /// Nothing but an endpoint.
    pub(super) fn sent_to(endpoint: &str) -> Self {
        Self { otel_exporter_otlp_endpoint: Some(endpoint.to_owned()), ..Self::default() }
    }
}

/// The pairs of `name=value,name=value`, where values are percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
    };
    text.split(',').filter(|it| !it.trim().is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &Variables) -> Settings {
        variables.settings("idissuer-operator").unwrap().unwrap()
    }

    #[test]
    fn traces_are_off_unless_a_receiver_is_named_or_wanted() {
        let is_on = |variables: Variables| variables.settings("idissuer-operator").unwrap().is_some();
        assert!(!is_on(Variables::default()));
        assert!(!is_on(Variables::sent_to(" ")));
        assert!(is_on(Variables::sent_to("http://collector:4318")));
        assert!(!is_on(Variables {
            otel_sdk_disabled: Some("True".into()),
            ..Variables::sent_to("http://collector:4318")
        }));
        assert!(!is_on(Variables {
            otel_traces_exporter: Some("none".into()),
            ..Variables::sent_to("http://collector:4318")
        }));
        let wanted = Variables { otel_traces_exporter: Some("otlp".into()), ..Variables::default() };
        assert_eq!(settings(&wanted).url.as_str(), "http://localhost:4318/v1/traces");
    }

    #[test]
    fn what_is_for_traces_only_takes_precedence() {
        let url = |variables: &Variables| settings(variables).url.to_string();
        assert_eq!(url(&Variables::sent_to("https://collector/base/")), "https://collector/base/v1/traces");
        let both = Variables {
            otel_exporter_otlp_traces_endpoint: Some("http://traces:1/as/it/is".into()),
            otel_exporter_otlp_timeout: Some("1000".into()),
            otel_exporter_otlp_traces_timeout: Some("2500".into()),
            otel_exporter_otlp_headers: Some("a=1".into()),
            otel_exporter_otlp_traces_headers: Some("authorization=Bearer%20x%3Dy, b = 2".into()),
            ..Variables::sent_to("http://collector:4318")
        };
        let settings = settings(&both);
        assert_eq!(settings.url.as_str(), "http://traces:1/as/it/is");
        assert_eq!(settings.limit, Duration::from_millis(2500));
        let headers: Vec<_> = settings.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(
            headers,
            [
                ("authorization", &HeaderValue::from_static("Bearer x=y")),
                ("b", &HeaderValue::from_static("2"))
            ]
        );
        let shown = format!("{both:?} {settings:?}");
        assert!(!shown.contains("x=y") && !shown.contains("Bearer"), "{shown}");
    }

    #[test]
    fn traces_carry_the_name_of_the_service_and_what_else_is_given() {
        let resource = |name: Option<&str>, attributes: &str| {
            let variables = Variables {
                otel_service_name: name.map(str::to_owned),
                otel_resource_attributes: Some(attributes.into()),
                ..Variables::sent_to("http://collector:4318")
            };
            let pairs = settings(&variables).resource;
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        let version = concat!("service.version=", env!("CARGO_PKG_VERSION"));
        assert_eq!(resource(None, ""), ["service.name=idissuer-operator", version]);
        assert_eq!(
            resource(None, "service.name=a,k8s.pod.name=p%2C1"),
            [version, "service.name=a", "k8s.pod.name=p,1"]
        );
        assert_eq!(resource(Some("b"), "service.name=a"), [version, "service.name=b"]);
    }

    #[test]
    fn a_sampler_is_one_of_the_standard_ones() {
        let sampler = |name: &str, share: Option<&str>| {
            let variables = Variables {
                otel_traces_sampler: Some(name.into()),
                otel_traces_sampler_arg: share.map(str::to_owned),
                ..Variables::sent_to("http://collector:4318")
            };
            variables
                .settings("idissuer-operator")
                .map(|settings| settings.map(|it| it.sampler))
                .ok()
                .flatten()
        };
        assert_eq!(sampler("always_on", None), Some(Sampler::ALL));
        assert_eq!(sampler("parentbased_always_off", None), Sampler::share(0.0));
        assert_eq!(sampler("parentbased_traceidratio", Some("0.25")), Sampler::share(0.25));
        assert_eq!(sampler("traceidratio", None), Some(Sampler::ALL));
        for (name, share) in [("traceidratio", "2"), ("traceidratio", "all"), ("jaeger_remote", "1")] {
            assert_eq!(sampler(name, Some(share)), None, "{name} {share}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named() {
        let cases = [
            (Variables::sent_to("collector:4318"), "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (Variables::sent_to("http://me:secret@collector:4318"), "OTEL_EXPORTER_OTLP_ENDPOINT"),
            (
                Variables {
                    otel_exporter_otlp_protocol: Some("grpc".into()),
                    ..Variables::sent_to("http://c:4317")
                },
                "http/json",
            ),
            (
                Variables { otel_traces_exporter: Some("zipkin".into()), ..Variables::default() },
                "OTEL_TRACES_EXPORTER=zipkin",
            ),
            (
                Variables {
                    otel_exporter_otlp_timeout: Some("10s".into()),
                    ..Variables::sent_to("http://c")
                },
                "_TIMEOUT=10s",
            ),
            (
                Variables {
                    otel_exporter_otlp_headers: Some("secret".into()),
                    ..Variables::sent_to("http://c")
                },
                "OTEL_EXPORTER_OTLP_HEADERS",
            ),
            (
                Variables {
                    otel_exporter_otlp_certificate: Some("/no/file".into()),
                    ..Variables::sent_to("https://c")
                },
                "/no/file",
            ),
            (
                Variables { otel_resource_attributes: Some("a".into()), ..Variables::sent_to("http://c") },
                "OTEL_RESOURCE_ATTRIBUTES",
            ),
        ];
        for (variables, expected) in cases {
            let error = variables.settings("idissuer-operator").unwrap_err();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }
}
