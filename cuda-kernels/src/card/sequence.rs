//! Commands that run again and again.

use super::clock::Clock;
use super::graph::Graph;
use super::{Card, Work, failed};
use crate::{Argument, Command, Error, Kernel, Launch, device::Result};
use cudarc::driver::{result, sys};
use std::ffi::c_void;

/// Commands from which on a graph is worth its making.
const LEAST: usize = 3;

/// Commands with their functions, and their graph once they ran twice.
#[derive(Debug)]
pub(crate) struct Sequence {
    commands: Vec<(Command, Option<sys::CUfunction>)>,
    replay: Replay,
    /// The graph whose commands are timed.
    timed: Option<(Graph, Clock)>,
    card: &'static Card,
}

/// How the next run is done.
#[derive(Debug)]
enum Replay {
    /// Command by command: libraries make ready what they need when they are first called, which they must not do while a graph is captured.
    First,
    /// By capturing a graph.
    Second,
    /// By replaying the graph.
    Graph(Graph),
    /// Command by command, as there are few, or as they cannot be captured.
    Plain,
}

// SAFETY: functions, graphs and events are the driver's handles, valid on every thread that has made the card's context current.
unsafe impl Send for Sequence {}
// SAFETY: as above; shared references use none of them.
unsafe impl Sync for Sequence {}

impl Sequence {
    /// Compiles the kernels of commands and finds their functions.
    pub(crate) fn new(card: &'static Card, commands: Vec<Command>) -> Result<Self> {
        card.bind()?;
        let kernels: Vec<&Kernel> = commands
            .iter()
            .filter_map(|command| match command {
                Command::Launch(launch) => Some(&launch.kernel),
                _ => None,
            })
            .collect();
        card.modules.load(&kernels)?;
        let mut prepared = Vec::with_capacity(commands.len());
        for command in commands {
            let function = match &command {
                Command::Launch(launch) => Some(card.modules.function(launch)?),
                _ => None,
            };
            prepared.push((command, function));
        }
        Ok(Self { commands: prepared, replay: Replay::First, timed: None, card })
    }

    /// Whether the commands were prepared for that card.
    pub(crate) fn is_of(&self, card: &Card) -> bool {
        std::ptr::eq(self.card, card)
    }

    /// Whether the next run replays a graph.
    pub(crate) fn is_graph(&self) -> bool {
        matches!(self.replay, Replay::Graph(_))
    }

    /// # Safety
    /// As for `Device::run`.
    pub(crate) unsafe fn run(&mut self) -> Result<()> {
        let work = self.card.work()?;
        // SAFETY: the caller's promise.
        unsafe {
            match &self.replay {
                Replay::Graph(graph) => return graph.launch(work.stream()),
                Replay::Plain => return self.issue(&work),
                Replay::First => {
                    self.issue(&work)?;
                    self.replay = if self.commands.len() < LEAST { Replay::Plain } else { Replay::Second };
                    return Ok(());
                }
                Replay::Second => {}
            }
            match Graph::capture(work.stream(), || self.issue(&work)) {
                Ok(graph) => {
                    graph.launch(work.stream())?;
                    self.replay = Replay::Graph(graph);
                    Ok(())
                }
                // What cannot be captured may run all the same; an error of another kind comes again.
                Err(_) => {
                    self.replay = Replay::Plain;
                    self.issue(&work)
                }
            }
        }
    }

    /// # Safety
    /// As for `Device::profile`.
    pub(crate) unsafe fn profile(&mut self) -> Result<Vec<f64>> {
        let work = self.card.work()?;
        // SAFETY: the caller's promise.
        unsafe {
            if !matches!(self.replay, Replay::First) && self.timed.is_none() {
                // Commands of a graph follow each other without waiting for this program, so that theirs is all the time there is.
                let clock = Clock::new(self.commands.len() + 1)?;
                let graph = Graph::capture(work.stream(), || self.issue_timed(&work, &clock, true));
                self.timed = graph.ok().map(|graph| (graph, clock));
            }
            if let Some((graph, clock)) = &self.timed {
                graph.launch(work.stream())?;
                work.synchronize()?;
                return clock.seconds();
            }
            let clock = Clock::new(self.commands.len() + 1)?;
            self.issue_timed(&work, &clock, false)?;
            work.synchronize()?;
            if matches!(self.replay, Replay::First) {
                self.replay = if self.commands.len() < LEAST { Replay::Plain } else { Replay::Second };
            }
            clock.seconds()
        }
    }

    unsafe fn issue(&self, work: &Work) -> Result<()> {
        for (command, function) in &self.commands {
            // SAFETY: the caller's promise.
            unsafe { issue(work, command, *function)? };
        }
        Ok(())
    }

    unsafe fn issue_timed(&self, work: &Work, clock: &Clock, captured: bool) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            clock.pass(0, work.stream(), captured)?;
            for (number, (command, function)) in self.commands.iter().enumerate() {
                issue(work, command, *function)?;
                clock.pass(number + 1, work.stream(), captured)?;
            }
        }
        Ok(())
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        // What is dropped next is of the card's context.
        let _ = self.card.bind();
    }
}

unsafe fn issue(work: &Work, command: &Command, function: Option<sys::CUfunction>) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        match command {
            Command::Launch(launch) => match function {
                Some(function) => start(work, launch, function),
                None => Err(Error::Driver(format!("kernel {} was not compiled", launch.kernel.name))),
            },
            Command::Gemm(gemm) => work.blas.run(gemm),
            Command::Zero { bytes: 0, .. } | Command::Copy { bytes: 0, .. } => Ok(()),
            Command::Zero { to, bytes } => result::memset_d8_async(*to, 0, *bytes, work.stream()).map_err(failed),
            Command::Copy { from, to, bytes } => {
                result::memcpy_dtod_async(*to, *from, *bytes, work.stream()).map_err(failed)
            }
        }
    }
}

unsafe fn start(work: &Work, launch: &Launch, function: sys::CUfunction) -> Result<()> {
    // Four bytes are the first ones of eight on the little-endian machines there are.
    let value = |argument: &Argument| match *argument {
        Argument::Pointer(x) | Argument::U64(x) => x,
        Argument::F64(x) => x.to_bits(),
        Argument::U32(x) => u64::from(x),
        Argument::F32(x) => u64::from(x.to_bits()),
    };
    let mut values: Vec<u64> = launch.arguments.iter().map(value).collect();
    let mut parameters: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
    let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
    // SAFETY: the caller's promise; numbers and sizes of the arguments were compared with the function's, and the driver copies them before it returns.
    unsafe {
        result::launch_kernel(function, (gx, gy, gz), (bx, by, bz), launch.shared_bytes, work.stream(), &mut parameters)
    }
    .map_err(|error| match failed(error) {
        Error::Driver(text) => Error::Driver(format!("kernel {}: {text}", launch.kernel.name)),
        other => other,
    })
}
