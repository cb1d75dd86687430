//! Where the streams of one start lead: everything is opened and checked before anything runs.

use super::command::{Lead, Origin};
use super::copy::Target;
use super::fifo;
use super::food::Food;
use super::once::Once;
use super::outlet::{Inlet, Outlet};
use crate::config::{Config, Retain};
use crate::merge::Channel;
use crate::prepared::Prepared;
use crate::sequence::Sequence;
use crate::stream::Stream;
use bytes::Bytes;
use lastout_proc_tree::{SpawnError, SpawnStep};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// Where standard input comes from.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) lead: Lead,
    /// What is written first, when there is a pipe.
    pub(super) food: Option<Food>,
    /// Whether its owner writes more.
    pub(super) is_open: bool,
}

/// Where an output goes.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) lead: Lead,
    pub(super) stream: Stream,
    /// The stream before its first byte; `None` without a pipe.
    pub(super) idle: Option<Prepared>,
    /// Places that get a copy of the stream.
    pub(super) copies: Vec<Target>,
}

/// The name of the process that is to be started, for errors and the names of its streams.
pub(super) struct Named<'a>(pub(super) &'a str);

impl Named<'_> {
    pub(super) fn refuse(&self, why: &str) -> SpawnError {
        SpawnError::Invalid { program: self.0.into(), why: why.into() }
    }

    /// What only one start can have, if it is there.
    pub(super) fn once<T>(
        &self,
        once: Option<Once<T>>,
        what: &str,
    ) -> Result<Option<T>, SpawnError> {
        let taken = || self.refuse(&format!("{what} was taken by an earlier start"));
        once.map(|once| once.take().ok_or_else(taken)).transpose()
    }

    pub(super) fn fail(&self, what: &str, source: &io::Error) -> SpawnError {
        let step = SpawnStep::Descriptors;
        let source = io::Error::new(source.kind(), format!("{what}: {source}"));
        SpawnError::Command { program: self.0.into(), step, source }
    }

    /// A pipe of the system, its reading end first.
    pub(super) fn pipe(&self, what: &str) -> Result<(OwnedFd, OwnedFd), SpawnError> {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| self.fail(&format!("make a pipe for its {what}"), &error.into()))
    }

    /// Leads all three to a terminal; where the caller reads and writes, that is the other end of it.
    #[cfg(feature = "pty")]
    pub(super) fn onto(
        &self,
        terminal: &Arc<OwnedFd>,
        [stdin, stdout, stderr]: [&mut Lead; 3],
    ) -> Result<(), SpawnError> {
        if !matches!((&*stdin, &*stdout), (Lead::Piped, Lead::Piped)) {
            let why = "a process on a terminal is fed by the caller, and writes to a stream";
            return Err(self.refuse(why));
        }
        for lead in [stdin, stdout, stderr] {
            *lead = Lead::Descriptor(terminal.clone());
        }
        Ok(())
    }

    fn open(
        &self,
        options: &mut OpenOptions,
        path: &Path,
        which: &str,
    ) -> Result<File, SpawnError> {
        let what = || format!("open {} for {which}", path.display());
        fifo::open(options, path).map_err(|error| self.fail(&what(), &error))
    }

    /// Opens what the inlet names.
    pub(super) fn feed(&self, inlet: Option<Inlet>) -> Result<Feed, SpawnError> {
        let lead = |lead| Ok(Feed { lead, food: None, is_open: false });
        let piped = |food, is_open| Ok(Feed { lead: Lead::Piped, food: Some(food), is_open });
        match inlet {
            None => lead(Lead::Kept),
            Some(Inlet::Null) => lead(Lead::Null),
            Some(Inlet::Inherit) => lead(Lead::Inherit),
            Some(Inlet::Bytes(bytes)) => piped(Food::Bytes(bytes), false),
            Some(Inlet::Piped) => piped(Food::Bytes(Bytes::new()), true),
            Some(Inlet::File(path)) => {
                let file = self.open(OpenOptions::new().read(true), &path, "stdin")?;
                lead(Lead::Descriptor(Arc::new(file.into())))
            }
            Some(Inlet::Descriptor(descriptor)) => lead(Lead::Descriptor(descriptor)),
            Some(Inlet::Source(food)) => {
                let taken = "the reader of its input was taken by an earlier start";
                piped(food.take().ok_or_else(|| self.refuse(taken))?, false)
            }
        }
    }

    /// Opens what the two outlets name.
    pub(super) fn outputs(
        &self,
        origin: &Origin,
        stdout: Option<Outlet>,
        stderr: Option<Outlet>,
    ) -> Result<(Route, Route, Option<OwnedFd>), SpawnError> {
        let sequence = Sequence::new();
        let is_joined = matches!(stderr, Some(Outlet::Stdout));
        let stdout = stdout.or_else(|| origin.outlet(1));
        let mut out = self.route(Channel::Out, stdout, &sequence)?;
        if !is_joined {
            let stderr = stderr.or_else(|| origin.outlet(2));
            return Ok((out, self.route(Channel::Err, stderr, &sequence)?, None));
        }
        let (lead, reader) = match &out.lead {
            Lead::Piped => {
                let (reader, writer) = self.pipe("outputs")?;
                (Lead::Descriptor(Arc::new(writer)), Some(reader))
            }
            Lead::Inherit => (Lead::Descriptor(Arc::new(self.ours(Channel::Out)?)), None),
            Lead::Kept => {
                let why =
                    "standard error cannot follow standard output to a descriptor of the command";
                return Err(self.refuse(why));
            }
            lead => (lead.clone(), None),
        };
        out.lead = lead.clone();
        let err = Route { lead, stream: Stream::empty(), idle: None, copies: Vec::new() };
        Ok((out, err, reader))
    }

    fn route(
        &self,
        channel: Channel,
        outlet: Option<Outlet>,
        sequence: &Sequence,
    ) -> Result<Route, SpawnError> {
        let without_pipe =
            |lead| Ok(Route { lead, stream: Stream::empty(), idle: None, copies: Vec::new() });
        let prepared = match outlet {
            None => return without_pipe(Lead::Kept),
            Some(Outlet::Discard) => return without_pipe(Lead::Null),
            Some(Outlet::Inherit) => return without_pipe(Lead::Inherit),
            Some(Outlet::Descriptor(descriptor)) => {
                return without_pipe(Lead::Descriptor(descriptor));
            }
            Some(Outlet::File { path, append }) => {
                let file = self.create(channel, &path, append)?;
                return without_pipe(Lead::Descriptor(Arc::new(file.into())));
            }
            Some(Outlet::Several(outlets)) => return self.several(channel, outlets, sequence),
            Some(Outlet::Stdout) => {
                return Err(
                    self.refuse("only standard error can follow standard output, and alone")
                );
            }
            Some(Outlet::Stream(config)) => self.prepare(channel, *config),
            Some(Outlet::Prepared(prepared)) => {
                let taken = format!("the stream for its {channel} was taken by an earlier start");
                prepared.take().ok_or_else(|| self.refuse(&taken))?
            }
        };
        prepared.join(sequence);
        let stream = Stream::clone(&prepared);
        Ok(Route { lead: Lead::Piped, stream, idle: Some(prepared), copies: Vec::new() })
    }

    /// One stream, and copies of it. Without a stream among them one that keeps nothing carries the bytes.
    fn several(
        &self,
        channel: Channel,
        outlets: Vec<Outlet>,
        sequence: &Sequence,
    ) -> Result<Route, SpawnError> {
        let mut copies = Vec::new();
        let mut stream = None;
        let mut left = outlets;
        left.reverse();
        while let Some(outlet) = left.pop() {
            let (to, file) = match outlet {
                Outlet::Several(more) => {
                    left.extend(more.into_iter().rev());
                    continue;
                }
                Outlet::Discard => continue,
                Outlet::Inherit => {
                    (format!("the {channel} of the caller"), self.ours(channel)?.into())
                }
                Outlet::File { path, append } => {
                    (path.display().to_string(), self.create(channel, &path, append)?)
                }
                Outlet::Descriptor(descriptor) => {
                    let copied = descriptor.try_clone();
                    let copied = copied.map_err(|error| self.fail("copy a descriptor", &error))?;
                    ("a descriptor".into(), copied.into())
                }
                outlet if stream.is_none() => {
                    stream = Some(outlet);
                    continue;
                }
                _ => return Err(self.refuse("an output can go to one stream only")),
            };
            copies.push(Target { to, file });
        }
        let stream = match stream {
            Some(stream) => stream,
            None => {
                let nothing = Config::builder().retain(Retain::Nothing).build();
                nothing.map_err(|error| self.refuse(&error.to_string()))?.into()
            }
        };
        let route = self.route(channel, Some(stream), sequence)?;
        Ok(Route { copies, ..route })
    }

    /// A stream that was not named has the name of its process.
    fn prepare(&self, channel: Channel, mut config: Config) -> Prepared {
        config.name.get_or_insert_with(|| format!("{channel} of {}", self.0).into());
        Stream::prepare(config)
    }

    fn create(&self, channel: Channel, path: &Path, append: bool) -> Result<File, SpawnError> {
        let mut options = OpenOptions::new();
        options.create(true).append(append).write(true).truncate(!append);
        self.open(&mut options, path, &channel.to_string())
    }

    /// Our own output.
    fn ours(&self, channel: Channel) -> Result<OwnedFd, SpawnError> {
        let copied = match channel {
            Channel::Out => io::stdout().as_fd().try_clone_to_owned(),
            Channel::Err => io::stderr().as_fd().try_clone_to_owned(),
        };
        copied.map_err(|error| self.fail(&format!("copy the {channel} of the caller"), &error))
    }
}
