//! Streams and events: what waits for what, and when it is done.

use crate::dnn::Convolution;
use crate::{Machine, Status, refused, status};
use cuda_kernels::{Device, Sequence};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// One thing that the card does.
#[derive(Clone)]
pub enum Action {
    /// A kernel, a product, or a copy or filling of memory, prepared for the emulated device.
    Command(Arc<Mutex<Sequence>>),
    /// A convolution.
    Convolve(Arc<Convolution>),
    /// Bytes from the host to the card, read when the card comes to it.
    Upload { from: usize, to: u64, bytes: usize },
    /// Bytes from the card to the host.
    Download { from: u64, to: usize, bytes: usize },
    /// An event that is recorded.
    Mark(usize),
    /// A graph.
    Graph(Arc<Vec<Node>>),
}

/// An action and those of the same list that must be done before it.
pub struct Node {
    pub action: Action,
    pub after: Vec<usize>,
}

/// A stream: the last actions that it was asked for.
#[derive(Default)]
pub struct Stream {
    pub tail: Vec<usize>,
    /// The capture that it is part of, and its last nodes there.
    pub capture: Option<(usize, Vec<usize>)>,
}

#[derive(Default)]
pub struct Event {
    /// Whether the time is kept.
    pub timed: bool,
    /// The action that records it.
    pub recorded: Option<usize>,
    /// The nodes of a capture that it stands for.
    pub captured: Option<(usize, Vec<usize>)>,
    /// When the card last came to it.
    pub time: Option<Instant>,
}

/// What is still to be done.
#[derive(Default)]
pub struct Work {
    pub streams: HashMap<usize, Stream>,
    pub events: HashMap<usize, Event>,
    waiting: BTreeMap<usize, Node>,
    asked: usize,
    /// How often somebody waited, which decides about orders.
    waits: usize,
    /// What the card failed at: it answers nothing else from then on.
    failed: Option<Status>,
}

impl Work {
    /// An error where the card has failed.
    pub fn check(&self) -> Result<(), Status> {
        self.failed.map_or(Ok(()), Err)
    }

    pub fn stream(&mut self, handle: usize) -> Result<&mut Stream, Status> {
        self.streams.get_mut(&handle).ok_or_else(|| refused(status::INVALID_HANDLE, "there is no such stream"))
    }

    pub fn event(&mut self, handle: usize) -> Result<&mut Event, Status> {
        self.events.get_mut(&handle).ok_or_else(|| refused(status::INVALID_HANDLE, "there is no such event"))
    }

    /// Puts an action at the end of a stream that is not captured; its number.
    pub fn ask(&mut self, stream: usize, action: Action) -> Result<usize, Status> {
        let number = self.asked;
        let after = std::mem::replace(&mut self.stream(stream)?.tail, vec![number]);
        self.asked += 1;
        self.waiting.insert(number, Node { action, after });
        Ok(number)
    }

    /// Does what is needed for some actions to be done, and nothing else, in an order as unlike that of the calls as what waits for what allows.
    pub fn finish(&mut self, wanted: &[usize]) -> Result<(), Status> {
        let mut needed = BTreeSet::new();
        let mut open = wanted.to_vec();
        while let Some(number) = open.pop() {
            if let Some(node) = self.waiting.get(&number)
                && needed.insert(number)
            {
                open.extend(&node.after);
            }
        }
        self.waits += 1;
        let mut order = Order::new(self.waits);
        while !needed.is_empty() {
            let ready = needed.iter().copied().filter(|number| {
                self.waiting.get(number).is_some_and(|node| !node.after.iter().any(|other| needed.contains(other)))
            });
            let number = order.choose(ready.collect());
            needed.remove(&number);
            if let Some(node) = self.waiting.remove(&number) {
                self.perform(&node.action).inspect_err(|&status| self.failed = Some(status))?;
            }
        }
        Ok(())
    }

    /// Does everything.
    pub fn finish_all(&mut self) -> Result<(), Status> {
        let all: Vec<usize> = self.waiting.keys().copied().collect();
        self.finish(&all)
    }

    fn perform(&mut self, action: &Action) -> Result<(), Status> {
        match action {
            Action::Command(sequence) => {
                let mut sequence = sequence.lock().unwrap_or_else(PoisonError::into_inner);
                let device = Device::emulated().map_err(|_| status::LAUNCH_FAILED)?;
                // SAFETY: whoever asked for it promised as much.
                unsafe { device.run(&mut sequence) }
                    .map_err(|error| refused(status::LAUNCH_FAILED, &error.to_string()))?;
            }
            // SAFETY: all of it was found in memory when it was asked for.
            Action::Convolve(convolution) => unsafe { convolution.perform() },
            // SAFETY: whoever asked for it promised that both lie in memory, and the card's was checked.
            &Action::Upload { from, to, bytes } => unsafe {
                std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes);
            },
            // SAFETY: as above.
            &Action::Download { from, to, bytes } => unsafe {
                std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes);
            },
            // An event may be destroyed before the card comes to it.
            Action::Mark(event) => {
                if let Some(event) = self.events.get_mut(event) {
                    event.time = Some(Instant::now());
                }
            }
            Action::Graph(nodes) => {
                let mut order = Order::new(self.waits);
                let mut done = vec![false; nodes.len()];
                let mut open: Vec<usize> = (0..nodes.len()).collect();
                while !open.is_empty() {
                    let ready = open.iter().copied().filter(|&k| nodes[k].after.iter().all(|&other| done[other]));
                    let number = order.choose(ready.collect());
                    self.perform(&nodes[number].action)?;
                    done[number] = true;
                    open.retain(|&k| k != number);
                }
            }
        }
        Ok(())
    }
}

/// Which of several actions comes first: the last one, or any.
struct Order {
    state: u64,
}

impl Order {
    fn new(number: usize) -> Self {
        Self { state: number as u64 }
    }

    fn choose(&mut self, ready: Vec<usize>) -> usize {
        if self.state.is_multiple_of(2) {
            return ready[ready.len() - 1];
        }
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_406);
        ready[(self.state >> 33) as usize % ready.len()]
    }
}

impl Machine {
    /// Puts an action at the end of a stream, or of what is captured of it.
    pub fn ask(&mut self, stream: usize, action: Action) -> Result<(), Status> {
        self.work.check()?;
        match self.work.stream(stream)?.capture.clone() {
            None => self.work.ask(stream, action).map(drop),
            Some((capture, tail)) => {
                let node = self.captures.add(capture, action, tail)?;
                self.work.stream(stream)?.capture = Some((capture, vec![node]));
                Ok(())
            }
        }
    }
}
