//! Commands that run again and again.

use super::clock::Clock;
use super::graph::Graph;
use super::lane::{Lane, Mark};
use super::{Card, LANES, Work, failed};
use crate::lanes::{Place, places};
use crate::{Argument, Command, Error, Kernel, Launch, Task, device::Result};
use cudarc::driver::{result, sys};
use std::ffi::c_void;

/// Commands from which on a graph is worth its making.
const LEAST: usize = 3;

/// Commands with their functions, and their graph once they ran twice.
#[derive(Debug)]
pub(crate) struct Sequence {
    commands: Vec<(Command, Option<sys::CUfunction>)>,
    /// For each task, one past its last command, and where it runs.
    tasks: Vec<(usize, Place)>,
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
    /// Command by command, as there are few, or as they cannot be captured, for this reason.
    Plain(Option<Error>),
}

// SAFETY: functions, graphs and events are the driver's handles, valid on every thread that has made the card's context current.
unsafe impl Send for Sequence {}
// SAFETY: as above; shared references use none of them.
unsafe impl Sync for Sequence {}

impl Sequence {
    /// Compiles the kernels of tasks and finds their functions.
    pub(crate) fn new(card: &'static Card, tasks: Vec<Task>) -> Result<Self> {
        card.bind()?;
        if tasks.iter().flat_map(|task| &task.commands).any(|command| matches!(command, Command::Convolve(_))) {
            card.work()?.lanes.iter_mut().try_for_each(|lane| lane.with_dnn().map(drop))?;
        }
        let places = places(&tasks, LANES);
        let kernels: Vec<&Kernel> = tasks
            .iter()
            .flat_map(|task| &task.commands)
            .filter_map(|command| match command {
                Command::Launch(launch) => Some(&launch.kernel),
                _ => None,
            })
            .collect();
        card.modules.load(&kernels)?;
        let (mut commands, mut placed) = (Vec::new(), Vec::with_capacity(tasks.len()));
        for (task, place) in tasks.into_iter().zip(places) {
            for command in task.commands {
                let function = match &command {
                    Command::Launch(launch) => Some(card.modules.function(launch)?),
                    _ => None,
                };
                commands.push((command, function));
            }
            placed.push((commands.len(), place));
        }
        Ok(Self { commands, tasks: placed, replay: Replay::First, timed: None, card })
    }

    /// Whether the commands were prepared for that card.
    pub(crate) fn is_of(&self, card: &Card) -> bool {
        std::ptr::eq(self.card, card)
    }

    /// Whether the next run replays a graph.
    pub(crate) fn is_graph(&self) -> bool {
        matches!(self.replay, Replay::Graph(_))
    }

    /// Why the commands could not be captured.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        match &self.replay {
            Replay::Plain(refusal) => refusal.as_ref(),
            _ => None,
        }
    }

    /// # Safety
    /// As for `Device::run`.
    pub(crate) unsafe fn run(&mut self) -> Result<()> {
        let work = self.card.work()?;
        // SAFETY: the caller's promise.
        unsafe {
            match &self.replay {
                Replay::Graph(graph) => return graph.launch(work.stream()),
                Replay::Plain(_) => return self.spread(&work),
                Replay::First => {
                    self.spread(&work)?;
                    self.replay = self.after_first();
                    return Ok(());
                }
                Replay::Second => {}
            }
            match Graph::capture(work.stream(), || self.spread(&work)) {
                Ok(graph) => {
                    graph.launch(work.stream())?;
                    self.replay = Replay::Graph(graph);
                    Ok(())
                }
                // What cannot be captured may run all the same; an error of another kind comes again.
                Err(error) => {
                    self.replay = Replay::Plain(Some(error));
                    self.spread(&work)
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
                self.replay = self.after_first();
            }
            clock.seconds()
        }
    }

    /// How commands that ran once are done the second time.
    fn after_first(&self) -> Replay {
        if self.commands.len() < LEAST { Replay::Plain(None) } else { Replay::Second }
    }

    /// Issues the tasks to their lanes, which begin and end with the first.
    unsafe fn spread(&self, work: &Work) -> Result<()> {
        let used = |lane: &usize| self.tasks.iter().any(|(_, place)| place.lane == *lane);
        let others: Vec<&Lane> = (1..LANES).filter(used).map(|lane| &work.lanes[lane]).collect();
        if !others.is_empty() {
            let begin = work.lanes[0].mark()?;
            others.iter().try_for_each(|lane| lane.wait(&begin))?;
        }
        let mut awaited = vec![false; self.tasks.len()];
        self.tasks.iter().flat_map(|(_, place)| &place.waits).for_each(|&other| awaited[other] = true);
        let mut marks: Vec<Option<Mark>> = Vec::with_capacity(self.tasks.len());
        let mut first = 0;
        for (&(end, ref place), awaited) in self.tasks.iter().zip(awaited) {
            let lane = &work.lanes[place.lane];
            place.waits.iter().filter_map(|&other| marks[other].as_ref()).try_for_each(|mark| lane.wait(mark))?;
            for (command, function) in &self.commands[first..end] {
                // SAFETY: the caller's promise.
                unsafe { issue(lane, command, *function)? };
            }
            marks.push(if awaited { Some(lane.mark()?) } else { None });
            first = end;
        }
        others.iter().try_for_each(|lane| work.lanes[0].wait(&lane.mark()?))
    }

    unsafe fn issue_timed(&self, work: &Work, clock: &Clock, captured: bool) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            clock.pass(0, work.stream(), captured)?;
            for (number, (command, function)) in self.commands.iter().enumerate() {
                issue(&work.lanes[0], command, *function)?;
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

unsafe fn issue(lane: &Lane, command: &Command, function: Option<sys::CUfunction>) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        match command {
            Command::Launch(launch) => match function {
                Some(function) => start(lane, launch, function),
                None => Err(Error::Driver(format!("kernel {} was not compiled", launch.kernel.name))),
            },
            Command::Gemm(gemm) => lane.blas.run(gemm),
            Command::Convolve(convolve) => lane.dnn()?.run(convolve),
            Command::Zero { bytes: 0, .. } | Command::Copy { bytes: 0, .. } => Ok(()),
            Command::Zero { to, bytes } => result::memset_d8_async(*to, 0, *bytes, lane.stream()).map_err(failed),
            Command::Copy { from, to, bytes } => {
                result::memcpy_dtod_async(*to, *from, *bytes, lane.stream()).map_err(failed)
            }
        }
    }
}

unsafe fn start(lane: &Lane, launch: &Launch, function: sys::CUfunction) -> Result<()> {
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
        result::launch_kernel(function, (gx, gy, gz), (bx, by, bz), launch.shared_bytes, lane.stream(), &mut parameters)
    }
    .map_err(|error| match failed(error) {
        Error::Driver(text) => Error::Driver(format!("kernel {}: {text}", launch.kernel.name)),
        other => other,
    })
}
