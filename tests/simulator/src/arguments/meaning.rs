//! The configuration that the flags make.

use std::{fs, io, path::PathBuf};

use idissuer_simulator::{
    Config, Latency, Lockout, LoginPersonality, Personality, RefreshPersonality, Tls, TokenPersonality, User,
};

use super::{Arguments, HttpsFlags};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgumentsError {
    /// Without the value, which may hold a password.
    #[error("--user wants NAME:PASSWORD or NAME:PASSWORD:no-api-access")]
    User,
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Arguments {
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.https.ca_file.clone()
    }

    pub(crate) fn config(self) -> Result<Config, ArgumentsError> {
        let lockout = self.login.lockout_after.map(|after| Lockout {
            after,
            duration: self.login.lockout_duration,
            status: self.login.lockout_status,
        });
        let personality = Personality {
            token: TokenPersonality {
                lifetime: self.tokens.token_lifetime,
                format: self.tokens.token_format,
                token_type: self.tokens.token_type,
                expires_in: self.tokens.expires_in,
            },
            login: LoginPersonality {
                path: self.login.login_path,
                session: self.login.session,
                rejected_status: self.login.rejected_status,
                no_access_status: self.login.no_access_status,
            },
            refresh: RefreshPersonality {
                accepted: self.refresh.refresh_accepted,
                refused_status: self.refresh.refused_status,
                request: self.refresh.refresh_request,
                path: self.refresh.refresh_path,
                tokens: self.refresh.refresh_tokens,
                reuse_revokes_family: !self.refresh.forgive_reuse,
                answers_new: !self.refresh.keep_refresh_token,
                missing: self.refresh.missing_refresh_token,
                old_token_lives: !self.refresh.end_old_token,
            },
            lockout,
            trailing_slash: self.login.trailing_slash,
            clock_offset: self.weather.clock_offset,
            latency: Latency::of(self.weather.latency),
            faults: self.weather.faults,
        };
        Ok(Config {
            listen: self.listen,
            control_listen: self.control_listen,
            tls: self.https.tls()?,
            users: self.users.iter().map(|text| user(text)).collect::<Result<_, _>>()?,
            personality,
            seed: self.seed,
        })
    }
}

impl HttpsFlags {
    fn tls(self) -> Result<Tls, ArgumentsError> {
        match (self.tls_certificate, self.tls_key) {
            (Some(certificate), Some(key)) => {
                Ok(Tls::Given { certificate: read(certificate)?, key: read(key)? })
            }
            _ if self.tls => Ok(Tls::Generated { names: self.tls_names }),
            _ => Ok(Tls::Off),
        }
    }
}

fn read(path: PathBuf) -> Result<Vec<u8>, ArgumentsError> {
    fs::read(&path).map_err(|source| ArgumentsError::Read { path, source })
}

/// The password may hold colons.
fn user(text: &str) -> Result<User, ArgumentsError> {
    let (name, rest) = text.split_once(':').ok_or(ArgumentsError::User)?;
    let (password, barred) = match rest.strip_suffix(":no-api-access") {
        Some(password) => (password, true),
        None => (rest, false),
    };
    if name.is_empty() || password.is_empty() {
        return Err(ArgumentsError::User);
    }
    let user = User::new(name, password);
    Ok(if barred { user.without_api_access() } else { user })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory as _, Parser as _};
    use idissuer_simulator::{ExpiresIn, Fault, FaultRule, RefreshAccepted, Session};
    use jiff::SignedDuration;

    use super::*;

    fn config(flags: &[&str]) -> Result<Config, ArgumentsError> {
        Arguments::try_parse_from([&["idissuer-simulator"], flags].concat()).unwrap().config()
    }

    #[test]
    fn every_flag_has_help_and_its_own_variable() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for argument in command
            .get_arguments()
            .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        {
            let flag = argument.get_long().unwrap();
            let variable = format!("IDISSUER_SIMULATOR_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
            assert!(argument.get_help().is_some(), "--{flag}");
        }
    }

    #[test]
    fn without_flags_the_personality_is_the_default_one() {
        assert_eq!(config(&[]).unwrap().personality, Personality::default());
    }

    #[test]
    fn users_may_have_colons_in_the_password_and_no_access() {
        for (text, expected) in [
            ("u:p", User::new("u", "p")),
            ("u:p:q", User::new("u", "p:q")),
            ("u:p:no-api-access", User::new("u", "p").without_api_access()),
        ] {
            assert_eq!(config(&["--user", text]).unwrap().users, [expected], "{text}");
        }
    }

    #[test]
    fn a_user_that_cannot_be_read_is_not_repeated() {
        for text in ["hunter2", ":hunter2", "u:"] {
            let error = config(&["--user", text]).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn flags_make_a_personality() {
        let flags = [
            "--token-lifetime=20s",
            "--expires-in=17",
            "--refresh-accepted=after-expiry",
            "--session=per-user",
            "--lockout-after=3",
            "--clock-offset=-5m",
            "--latency=50ms..2s",
            r#"--fault={"on":"login","fault":{"kind":"lost"},"times":1}"#,
        ];
        let personality = config(&flags).unwrap().personality;
        assert_eq!(personality.token.lifetime, Duration::from_secs(20));
        assert_eq!(personality.token.expires_in, ExpiresIn::Json(17.into()));
        assert_eq!(personality.refresh.accepted, RefreshAccepted::AfterExpiry);
        assert_eq!(personality.login.session, Session::PerUser);
        assert_eq!(personality.lockout, Some(Lockout { after: 3, ..Lockout::default() }));
        assert_eq!(personality.clock_offset, SignedDuration::from_secs(-300));
        assert_eq!(personality.latency, Latency::of("50ms..2s".parse().unwrap()));
        assert_eq!(personality.faults, [FaultRule::on_login(Fault::Lost).once()]);
    }
}
