//! A stream of batches allocates nothing for a batch. Alone in its program: it counts every allocation there is.

use livi::data::images::augment::Augmentation;
use livi::data::images::stream::BatchStream;
use livi::data::images::{Images, PixelScale};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator with a count of requests.
struct Counting;

/// Allocations of the two sides' first wait for one another, whenever that is.
const FIRST_WAITS: usize = 8;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn five_hundred_batches_are_made_without_an_allocation_each() {
    let pixels = (0..100 * 3 * 8 * 8).map(|k| (k * 7 % 256) as u8).collect();
    let images = Arc::new(Images::new([3, 8, 8], pixels, vec![0; 100], 1, vec![], "made up").unwrap());
    let scale = PixelScale::fit(&images);
    let augmentation = Some(Augmentation { padding: 2, flip: true });
    let mut stream = BatchStream::new(images, scale, 32, 1, augmentation, 0).unwrap();
    for _ in 0..20 {
        stream.next().unwrap();
    }
    let before = REQUESTS.load(Ordering::Relaxed);
    for step in 20..520 {
        assert_eq!(stream.next().unwrap().step, step);
    }
    let requests = REQUESTS.load(Ordering::Relaxed) - before;
    assert!(requests <= FIRST_WAITS, "{requests} allocations for 500 batches");
}
