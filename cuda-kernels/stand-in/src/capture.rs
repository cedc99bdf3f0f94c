//! Streams that are captured, and the graphs that come of it.

use crate::stream::{Action, Node};
use crate::{Machine, Status, refused, status};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::ThreadId;

/// A capture that is going on.
pub struct Capture {
    nodes: Vec<Node>,
    /// The stream in which it began.
    origin: usize,
    thread: ThreadId,
    /// What was refused meanwhile.
    failed: bool,
}

/// Captures that are going on, and graphs.
#[derive(Default)]
pub struct Captures {
    open: HashMap<usize, Capture>,
    pub graphs: HashMap<usize, Arc<Vec<Node>>>,
    pub executables: HashMap<usize, Arc<Vec<Node>>>,
}

impl Captures {
    /// Adds a node; its number.
    pub fn add(&mut self, capture: usize, action: Action, after: Vec<usize>) -> Result<usize, Status> {
        let capture = self.open.get_mut(&capture).ok_or(status::CAPTURE_INVALIDATED)?;
        if capture.failed {
            return Err(status::CAPTURE_INVALIDATED);
        }
        capture.nodes.push(Node { action, after });
        Ok(capture.nodes.len() - 1)
    }

    /// Spoils a capture by what is not allowed in it.
    pub fn spoil(&mut self, capture: usize) {
        if let Some(capture) = self.open.get_mut(&capture) {
            capture.failed = true;
        }
    }

    /// An error for a call that must not be made by a thread that captures.
    pub fn check_thread(&mut self, what: &str) -> Result<(), Status> {
        let thread = std::thread::current().id();
        match self.open.values_mut().find(|capture| capture.thread == thread) {
            None => Ok(()),
            Some(capture) => {
                capture.failed = true;
                Err(refused(status::CAPTURE_UNSUPPORTED, &format!("{what} by a thread that captures")))
            }
        }
    }
}

impl Machine {
    pub fn begin_capture(&mut self, stream: usize) -> Result<(), Status> {
        self.work.check()?;
        let capture = self.handle();
        let found = self.work.stream(stream)?;
        if found.capture.is_some() {
            return Err(refused(status::INVALID_VALUE, "a stream is captured twice"));
        }
        found.capture = Some((capture, Vec::new()));
        let thread = std::thread::current().id();
        self.captures.open.insert(capture, Capture { nodes: Vec::new(), origin: stream, thread, failed: false });
        Ok(())
    }

    /// The graph that came of a capture.
    pub fn end_capture(&mut self, stream: usize) -> Result<usize, Status> {
        let Some((number, tail)) = self.work.stream(stream)?.capture.clone() else {
            return Err(refused(status::INVALID_VALUE, "a stream that is not captured"));
        };
        let found = self.captures.open.get(&number).ok_or(status::CAPTURE_INVALIDATED)?;
        if found.origin != stream {
            return Err(refused(status::CAPTURE_UNMATCHED, "the capture began in another stream"));
        }
        if found.thread != std::thread::current().id() {
            return Err(refused(status::CAPTURE_WRONG_THREAD, "the capture began in another thread"));
        }
        // It ends in any case, for all streams that are part of it.
        let Some(capture) = self.captures.open.remove(&number) else { return Err(status::CAPTURE_INVALIDATED) };
        for stream in self.work.streams.values_mut() {
            stream.capture.take_if(|(other, _)| *other == number);
        }
        if capture.failed {
            return Err(status::CAPTURE_INVALIDATED);
        }
        let mut joined = vec![false; capture.nodes.len()];
        let mut open = tail;
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut joined[node], true) {
                open.extend(&capture.nodes[node].after);
            }
        }
        if joined.contains(&false) {
            return Err(refused(status::CAPTURE_UNJOINED, "what a captured stream was asked for is not waited for"));
        }
        let graph = self.handle();
        self.captures.graphs.insert(graph, Arc::new(capture.nodes));
        Ok(graph)
    }

    /// Records an event in a stream. In a graph, an external one is recorded by each replay, any other stands for a place in the capture alone.
    pub fn record(&mut self, event: usize, stream: usize, external: bool) -> Result<(), Status> {
        self.work.check()?;
        self.work.event(event)?;
        match self.work.stream(stream)?.capture.clone() {
            None => {
                let number = self.work.ask(stream, Action::Mark(event))?;
                let event = self.work.event(event)?;
                (event.recorded, event.captured) = (Some(number), None);
            }
            Some((capture, tail)) if external => {
                let node = self.captures.add(capture, Action::Mark(event), tail)?;
                self.work.stream(stream)?.capture = Some((capture, vec![node]));
            }
            Some(captured) => {
                let event = self.work.event(event)?;
                (event.recorded, event.captured) = (None, Some(captured));
            }
        }
        Ok(())
    }

    /// Lets a stream wait for an event.
    pub fn wait(&mut self, stream: usize, event: usize) -> Result<(), Status> {
        self.work.check()?;
        let (recorded, captured) = {
            let event = self.work.event(event)?;
            (event.recorded, event.captured.clone())
        };
        let found = self.work.stream(stream)?;
        match (&mut found.capture, captured) {
            (None, None) => found.tail.extend(recorded),
            (None, Some((capture, nodes))) => {
                if !self.captures.open.contains_key(&capture) {
                    return Err(refused(status::CAPTURED_EVENT, "an event of a capture that is over is waited for"));
                }
                found.capture = Some((capture, nodes));
            }
            (Some((own, tail)), Some((other, nodes))) if *own == other => tail.extend(nodes),
            (Some((own, _)), Some(_)) => {
                self.captures.spoil(*own);
                return Err(refused(status::CAPTURE_MERGE, "a captured stream waits for another capture"));
            }
            (Some((own, _)), None) => {
                self.captures.spoil(*own);
                return Err(refused(status::CAPTURE_ISOLATION, "a captured stream waits for what is not captured"));
            }
        }
        Ok(())
    }
}
