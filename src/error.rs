//! One error type for every room: what kind it is, what the program was doing, with which object, why it
//! failed, and what to do next.

use std::fmt;

/// What a scheduler branches on. Each kind has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A defect of tradefold itself.
    Bug,
    /// Wrong arguments, configuration, contract or input columns: fix the call.
    Usage,
    /// A rule or a stop: the data need a decision.
    Data,
    /// Another writer holds the target, or a gap is open.
    Busy,
    /// The other side failed for now, or a disk is full: run the same command again, once there is room.
    Transient,
    /// Refused: credentials, quota, budget, permissions.
    Refused,
}

impl Kind {
    /// The process's exit code for an error of this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Bug => 1,
            Kind::Usage => 2,
            Kind::Data => 65,
            Kind::Busy => 73,
            Kind::Transient => 75,
            Kind::Refused => 77,
        }
    }
}

/// An error that says what was done, with what, why it failed and what to do next.
///
/// `Display` prints the first two and never the cause; [`Error::render`] prints the whole chain.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    doing: String,
    context: Vec<(&'static str, String)>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: Option<String>,
}

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that stopped the program while `doing` ("read a contract").
    pub fn new(kind: Kind, doing: impl Into<String>) -> Error {
        Error(Box::new(Parts { kind, doing: doing.into(), context: Vec::new(), cause: None, hint: None }))
    }

    /// A wrong call. See [`Kind::Usage`].
    pub fn usage(doing: impl Into<String>) -> Error {
        Error::new(Kind::Usage, doing)
    }

    /// Data that need a decision. See [`Kind::Data`].
    pub fn data(doing: impl Into<String>) -> Error {
        Error::new(Kind::Data, doing)
    }

    /// A defect. See [`Kind::Bug`].
    pub fn bug(doing: impl Into<String>) -> Error {
        Error::new(Kind::Bug, doing)
    }

    /// Names an object that was worked on: `with("file", path)`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Error {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// What an object is called that was named: the value of [`Error::with`].
    pub fn about(&self, name: &str) -> Option<&str> {
        self.0.context.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// What a caller branches on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The hint, if there is one: its own, or that of a cause.
    pub fn advice(&self) -> Option<&str> {
        let cause = || causes(self).find_map(|cause| cause.downcast_ref::<Error>()?.0.hint.as_deref());
        self.0.hint.as_deref().or_else(cause)
    }

    /// Whether a full disk is behind it.
    fn is_disk_full(&self) -> bool {
        causes(self).any(|cause| {
            let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded))
                // Some keep only the text of what failed.
                || cause.to_string().contains("No space left on device")
        })
    }

    /// Names the folder that was written to and says what to do, where a full disk is behind the error.
    #[must_use]
    pub fn in_folder(self, folder: impl fmt::Display) -> Error {
        self.without_room(folder, "make room there")
    }

    /// As [`Error::in_folder`], for the folder of temporary files.
    #[must_use]
    pub fn in_temporary_folder(self) -> Error {
        self.without_room(std::env::temp_dir().display(), "make room there, or name another folder in TMPDIR,")
    }

    fn without_room(self, folder: impl fmt::Display, advice: &str) -> Error {
        match self.is_disk_full() && self.advice().is_none() {
            true => {
                self.with("folder", folder).hint(format!("the disk is full: {advice} and run the same command again"))
            }
            false => self,
        }
    }

    /// The query engine had not enough memory.
    fn without_memory(mut self) -> Error {
        self.0.kind = Kind::Refused;
        self.hint("allow more with --memory, or bring fewer days together with --batch-days; a day is never cut")
    }

    /// The message and what is right behind it, as one line.
    pub fn on_one_line(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {}", shortened(cause.to_string())),
            None => self.to_string(),
        }
    }

    /// The message, its chain of causes and the hint, as lines for a person.
    pub fn render(&self) -> String {
        let mut text = format!("error: {self}\n");
        let mut cause = std::error::Error::source(self);
        let mut last = String::new();
        while let Some(error) = cause {
            let line = shortened(error.to_string());
            // Foreign errors often print their cause as well: say each thing once.
            if !last.contains(&line) {
                text.push_str(&format!("  caused by: {line}\n"));
            }
            last = line;
            cause = error.source();
        }
        if let Some(hint) = self.advice() {
            text.push_str(&format!("\nhint: {hint}\n"));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.0.doing)?;
        for (name, value) in &self.0.context {
            write!(f, ", {name} `{value}`")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

/// What is behind an error, the nearest first.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |error| error.source())
}

/// The most characters of a cause that are printed: a query engine may print whole plans.
const CAUSE_CHARS: usize = 600;

fn shortened(text: String) -> String {
    match text.char_indices().nth(CAUSE_CHARS) {
        Some((end, _)) => format!("{} … ({} more characters)", &text[..end], text.chars().count() - CAUSE_CHARS),
        None => text,
    }
}

/// Turns a foreign error into ours, at the call that knows what was being done.
pub trait Doing<T> {
    /// Wraps an error as [`Kind::Bug`] unless its own chain says better (an error of ours, I/O, an object store).
    ///
    /// # Errors
    /// The wrapped error.
    fn doing(self, doing: &str) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: &str) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            let kind = kind_of(error.as_ref());
            let error = Error::new(kind, doing).because(error);
            // Some keep only the text of what failed.
            let is_exhausted = causes(&error).any(|cause| cause.to_string().contains("Resources exhausted"));
            match is_exhausted && error.advice().is_none() {
                true => error.without_memory(),
                false => error,
            }
        })
    }
}

/// The kind of a foreign error, from the first cause in its chain that says something.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> Kind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.kind();
        }
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            return match store {
                object_store::Error::NotFound { .. } => Kind::Usage,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                    Kind::Refused
                }
                _ => Kind::Transient,
            };
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match io.kind() {
                std::io::ErrorKind::NotFound
                | std::io::ErrorKind::InvalidData
                | std::io::ErrorKind::InvalidInput
                | std::io::ErrorKind::IsADirectory
                | std::io::ErrorKind::NotADirectory => Kind::Usage,
                std::io::ErrorKind::PermissionDenied => Kind::Refused,
                _ => Kind::Transient,
            };
        }
        cause = error.source();
    }
    Kind::Bug
}
