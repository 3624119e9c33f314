//! Why a sidecar has no valid token: names for programs, messages for people.

use std::io;

use crate::core::call_failure::CallFailure;
use crate::core::connection_failure::Wording;
use crate::core::endpoint::Origin;
use crate::core::reason::{API_ACCESS, LoginDelay, Reason, hint_at, when};
use crate::core::retry::Failure;
use crate::core::token::TokenError;
use crate::core::username_password::LoginError;

/// Why a file is never read, whatever its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A named pipe. Opening it would wait for a writer.
    #[error("is a FIFO (named pipe), so it was not opened; put a regular file there")]
    Fifo,
    /// A socket.
    #[error("is a socket, so it was not opened; put a regular file there")]
    Socket,
    /// A device.
    #[error("is a device, so it was not opened; put a regular file there")]
    Device,
    /// A directory.
    #[error("is a directory; name the file in it, or put a regular file there")]
    Directory,
    /// Larger than the limit.
    #[error("is larger than 1 MiB, so it was not read; check what writes it")]
    TooLarge,
}

impl FileError {
    /// The defect inside an I/O error, if there is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// Why there is no newer token. Like a [`Reason`], it contains no user name, no secret and no text from the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// A file of the login cannot be read.
    LoginUnreadable {
        /// Its path.
        file: String,
    },
    /// A file cannot be opened, because this process has no file descriptors left.
    TooManyOpenFiles {
        /// Its path.
        file: String,
    },
    /// A file that is never read, whatever its permissions.
    FileUnfit {
        /// Its path.
        file: String,
        /// What is wrong with it.
        defect: FileError,
    },
    /// A file of the login cannot be used.
    LoginDefective {
        /// Its path.
        file: String,
        /// What is wrong with it.
        defect: LoginError,
    },
    /// The file with the issuer's CA certificates cannot be read, or contains none.
    CaFile {
        /// Its path.
        file: String,
    },
    /// The issuer rejected the login.
    LoginRejected {
        /// Answered with 403: the user may lack the "API Access" authorization.
        forbidden: bool,
        /// Whether the issuer accepted this login before.
        proven: bool,
        /// Whether the password holds a blank or an invisible character, which may be a slip.
        blank: bool,
        /// What puts the next login off.
        delay: Option<LoginDelay>,
    },
    /// An attempt with a login that was never accepted could not be recorded, so it was not made.
    LoginNotRecorded {
        /// The path of the record.
        file: String,
    },
    /// A call to the issuer returned no token.
    Issuer(Reason),
    /// The source of the token does not exist, or cannot be read.
    SourceUnreadable {
        /// The place.
        place: String,
    },
    /// The content cannot be used as a token.
    TokenUnusable {
        /// The place, with the key or file.
        place: String,
        /// What is wrong with it.
        defect: TokenError,
    },
    /// The token has expired.
    TokenExpired {
        /// The place.
        place: String,
    },
    /// The upstream calls each new token expired.
    TokensCalledExpired,
    /// The Secret does not exist.
    SecretMissing {
        /// The Secret.
        secret: String,
    },
    /// The API server denies access to the Secret.
    SecretForbidden {
        /// The Secret.
        secret: String,
    },
    /// The API server cannot be reached.
    ApiServerUnreachable,
}

impl SourceError {
    /// The result of a call to the issuer at this origin; `login` is where the login's files are, and `proven` says
    /// whether the issuer accepted this login before.
    #[must_use]
    pub fn of_call(failure: &Failure, login: &str, origin: &Origin, proven: bool) -> Self {
        match failure.cause {
            CallFailure::LoginRejected { forbidden } => {
                Self::LoginRejected { forbidden, proven, blank: failure.password_has_blank, delay: None }
            }
            _ => Self::Issuer(Reason::of_call(failure, login, origin)),
        }
    }

    /// The name, for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::LoginUnreadable { .. } => "LoginUnreadable",
            Self::TooManyOpenFiles { .. } => "TooManyOpenFiles",
            Self::FileUnfit { defect: FileError::TooLarge, .. } => "FileTooLarge",
            Self::FileUnfit { .. } => "NotARegularFile",
            Self::LoginDefective { defect, .. } => defect.name_of_file(),
            Self::CaFile { .. } => "CaFileInvalid",
            Self::LoginRejected { .. } => "LoginRejected",
            Self::LoginNotRecorded { .. } => "LoginNotRecorded",
            Self::Issuer(reason) => reason.name(),
            Self::SourceUnreadable { .. } => "SourceUnreadable",
            Self::TokenUnusable { .. } => "TokenUnusable",
            Self::TokenExpired { .. } => "TokenExpired",
            Self::TokensCalledExpired => "TokensCalledExpired",
            Self::SecretMissing { .. } => "SecretMissing",
            Self::SecretForbidden { .. } => "SecretForbidden",
            Self::ApiServerUnreachable => "ApiServerUnreachable",
        }
    }

    /// The same, where this puts the next login off.
    #[must_use]
    pub fn delayed(mut self, by: Option<LoginDelay>) -> Self {
        if let Self::LoginRejected { delay, .. } = &mut self {
            *delay = by;
        }
        if let Self::Issuer(reason) = self { Self::Issuer(reason.delayed(by)) } else { self }
    }

    /// The message for people: what is wrong, and the cure.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::LoginUnreadable { file } => format!("{file} cannot be read; let the sidecar's user read it (fsGroup, or the volume's defaultMode)"),
            Self::TooManyOpenFiles { file } => format!("There is no file descriptor left to read {file}; raise the limit of open files of the sidecar (`ulimit -n`), and check which clients hold connections to its ports"),
            Self::FileUnfit { file, defect } => format!("{file} {defect}"),
            Self::LoginDefective { file, defect: LoginError::Missing } => format!("{file} does not exist; mount the Secret with user name and password there, or correct the file name"),
            Self::LoginDefective { file, defect } => format!("{file} {}", defect.describe()),
            Self::CaFile { file } => format!("{file} contains no valid PEM certificate; put the issuer's CA certificates there"),
            Self::LoginRejected { forbidden, proven, blank, delay } => {
                let when = when(*delay);
                let access = if *forbidden { API_ACCESS } else { "" };
                let hint = hint_at(*blank);
                let again = if *proven { "Otherwise the login is attempted three times within 15 minutes, then once an hour" } else { "The same files are not tried again" };
                format!("Correct the login files{access}; the issuer rejected the user name and password. {hint}Corrected files are tried {when}. {again}, to avoid locking the account")
            }
            Self::LoginNotRecorded { file } => format!("No login was attempted, because {file} cannot be written to record the attempt; create the directory, or make the volume writable for the sidecar's user"),
            Self::Issuer(reason) => of_issuer(reason),
            Self::SourceUnreadable { place } => format!("{place} does not exist or cannot be read; mount the Secret there as a directory, and let the sidecar's user read it"),
            Self::TokenUnusable { place, defect } => format!("{place}: {defect}; check what writes it, or set the right key with --token-key"),
            Self::TokenExpired { place } => format!("The token in {place} has expired; find out why it was not renewed (`kubectl describe iic`)"),
            Self::TokensCalledExpired => "The upstream calls new tokens expired, so they are requested at growing intervals; check its clock, and that it accepts tokens of this issuer".into(),
            Self::SecretMissing { secret } => format!("Secret {secret} does not exist; check the credential that writes it (`kubectl describe iic`), or correct the name"),
            Self::SecretForbidden { secret } => format!("The API server denies access to Secret {secret}; bind a Role with get, list and watch on that one Secret to the pod's service account"),
            Self::ApiServerUnreachable => "The API server cannot be reached, or its response is invalid; retrying. Check that network policies allow the pod to reach it".into(),
        }
    }

    /// Whether a person has to act before this can get better.
    #[must_use]
    pub fn needs_user_action(&self) -> bool {
        match self {
            Self::Issuer(reason) => reason.needs_user_action(),
            Self::ApiServerUnreachable | Self::TooManyOpenFiles { .. } => false,
            Self::LoginUnreadable { .. }
            | Self::FileUnfit { .. }
            | Self::LoginDefective { .. }
            | Self::CaFile { .. }
            | Self::LoginRejected { .. }
            | Self::LoginNotRecorded { .. }
            | Self::SourceUnreadable { .. }
            | Self::TokenUnusable { .. }
            | Self::TokenExpired { .. }
            | Self::TokensCalledExpired
            | Self::SecretMissing { .. }
            | Self::SecretForbidden { .. } => true,
        }
    }
}

/// Rewords messages of the operator that name fields of its resource: a sidecar has flags and files.
fn of_issuer(reason: &Reason) -> String {
    match reason {
        Reason::LoginOutcomeUnknown { delay, .. } => format!(
            "The sidecar stopped during a login, which may have been rejected; the next attempt waits a few minutes, to avoid locking the account. To log in {}, change the login files",
            when(*delay)
        ),
        Reason::LoginRateLimited { until, .. } => format!(
            "Correct the user name and password; the next attempt is at {until}, even with corrected files, to avoid locking the account. Within an hour, four logins with this user name failed; a response without a token counts as a failure"
        ),
        Reason::NoAnswer { origin, connection_failure } => {
            connection_failure.message(origin, Wording::SIDECAR)
        }
        Reason::LoginNotAccepted { origin, answer, blank, delay } => format!(
            "{}. {}The password may be correct; after fixing the cause, change the login files or the issuer's address to log in {}. Some issuers reject a wrong password with such a response, so a login that was never accepted is attempted three times within 15 minutes and then held, to avoid locking the account",
            answer.problem(origin, Wording::SIDECAR),
            hint_at(*blank),
            when(*delay)
        ),
        Reason::Unclear { origin, answer } => answer.message(origin, Wording::SIDECAR),
        other => other.message(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::call_failure::UnclearAnswer;
    use crate::core::connection_failure::ConnectionFailure;
    use crate::core::retry::RetryClass;

    #[test]
    fn a_message_for_a_person_names_the_cure_and_none_speaks_of_the_operators_resource() {
        let unanswered = ConnectionFailure::ALL.map(|connection_failure| Reason::NoAnswer {
            origin: "https://issuer.example".into(),
            connection_failure,
        });
        let origin = || "http://issuer.example".to_owned();
        let issuer = [
            Reason::IssuerUnavailable { origin: origin(), status: 503 },
            Reason::IssuerCircuitOpen { origin: Some(origin()) },
            Reason::LoginOutcomeUnknown { secret: "s".into(), delay: None },
            Reason::LoginRateLimited { secret: "s".into(), until: jiff::Timestamp::UNIX_EPOCH },
        ];
        let unclear = UnclearAnswer::each("no token").into_iter().flat_map(|answer| {
            [
                Reason::Unclear { origin: origin(), answer },
                Reason::LoginNotAccepted { origin: origin(), answer, blank: true, delay: None },
            ]
        });
        let (file, place, secret) = ("/login/password", "/run/secret", "shop/billing");
        let troubles = LoginError::ALL
            .map(|defect| SourceError::LoginDefective { file: file.into(), defect })
            .into_iter()
            .chain(issuer.into_iter().chain(unclear).chain(unanswered).map(SourceError::Issuer))
            .chain([
                SourceError::LoginUnreadable { file: file.into() },
                SourceError::TooManyOpenFiles { file: file.into() },
                SourceError::FileUnfit { file: file.into(), defect: FileError::Fifo },
                SourceError::FileUnfit { file: file.into(), defect: FileError::TooLarge },
                SourceError::CaFile { file: file.into() },
                SourceError::LoginRejected { forbidden: false, proven: false, blank: true, delay: None },
                SourceError::LoginRejected { forbidden: true, proven: true, blank: false, delay: None },
                SourceError::LoginNotRecorded { file: file.into() },
                SourceError::SourceUnreadable { place: place.into() },
                SourceError::TokenUnusable { place: place.into(), defect: TokenError::Empty },
                SourceError::TokenExpired { place: place.into() },
                SourceError::TokensCalledExpired,
                SourceError::SecretMissing { secret: secret.into() },
                SourceError::SecretForbidden { secret: secret.into() },
                SourceError::ApiServerUnreachable,
            ]);
        for error in troubles {
            let message = error.message();
            assert!(!message.contains("spec.") && !message.contains("controller"), "{message}");
            assert!(message.contains(';') || !error.needs_user_action(), "{message}");
        }
    }

    #[test]
    fn no_message_promises_a_login_at_once_that_is_put_off() {
        let (origin, answer) = ("https://issuer.example".to_owned(), UnclearAnswer::PathWrong);
        for error in [
            SourceError::LoginRejected { forbidden: false, proven: false, blank: false, delay: None },
            SourceError::Issuer(Reason::LoginOutcomeUnknown { secret: "s".into(), delay: None }),
            SourceError::Issuer(Reason::LoginNotAccepted { origin, answer, blank: false, delay: None }),
        ] {
            assert!(error.message().contains(" at once"), "{error:?}");
            let until = Some(jiff::Timestamp::UNIX_EPOCH);
            let message = error.delayed(Some(LoginDelay::RateLimited { until })).message();
            assert!(message.contains(" after 1970-01-01T00:00:00Z"), "{message}");
            assert!(!message.contains("at once"), "{message}");
        }
    }

    #[test]
    fn a_problem_has_a_name_a_cause_and_a_cure_that_may_need_a_person() {
        let origin = || "https://issuer.example".to_owned();
        for (error, name, needs_user_action, cause) in [
            (
                SourceError::ApiServerUnreachable,
                "ApiServerUnreachable",
                false,
                "The API server cannot be reached",
            ),
            (
                SourceError::TokensCalledExpired,
                "TokensCalledExpired",
                true,
                "The upstream calls new tokens expired",
            ),
            (
                SourceError::Issuer(Reason::IssuerUnavailable { origin: origin(), status: 503 }),
                "IssuerUnavailable",
                false,
                "https://issuer.example failed with status 503; ",
            ),
            (
                SourceError::Issuer(Reason::Unclear { origin: origin(), answer: UnclearAnswer::Blocked }),
                "IssuerBlocked",
                false,
                "A web application",
            ),
        ] {
            assert_eq!((error.name(), error.needs_user_action()), (name, needs_user_action));
            assert!(error.message().starts_with(cause), "{}", error.message());
        }
    }

    #[test]
    fn the_defect_of_a_file_is_found_in_the_error_of_its_read() {
        for defect in [FileError::Fifo, FileError::TooLarge] {
            assert_eq!(FileError::of(&io::Error::other(defect)), Some(defect));
        }
        assert_eq!(FileError::of(&io::ErrorKind::NotFound.into()), None);
    }

    #[test]
    fn a_blank_in_a_password_is_hinted_at_however_the_issuer_refused_it() {
        let origin = Origin::parse("https://issuer.example").unwrap();
        let unclear = CallFailure::LoginNotAccepted(UnclearAnswer::Redirect);
        for cause in [unclear, CallFailure::LoginRejected { forbidden: false }] {
            for password_has_blank in [true, false] {
                let failure = Failure { class: RetryClass::Rejected, cause, password_has_blank };
                let error = SourceError::of_call(&failure, "/login", &origin, false);
                let is_rejection = matches!(error, SourceError::LoginRejected { forbidden: false, .. });
                assert_eq!(is_rejection, cause != unclear);
                let message = error.message();
                assert_eq!(message.contains("holds a blank"), password_has_blank, "{message}");
            }
        }
    }
}
