//! What every device must do, on the emulated one (feature `emulated`) and on a card.

#[cfg(feature = "cuda")]
mod convolutions;
#[cfg(any(feature = "cuda", feature = "emulated"))]
mod duties;

#[cfg(feature = "emulated")]
mod emulated {
    use super::duties;
    use cuda_kernels::Device;

    #[test]
    fn memory_holds_what_is_written() {
        duties::memory(&Device::emulated().unwrap());
    }

    #[test]
    fn what_is_written_may_be_changed_at_once() {
        duties::uploads(&Device::emulated().unwrap());
    }

    #[test]
    fn kernels_run() {
        duties::kernels(&Device::emulated().unwrap());
    }

    #[test]
    fn products_are_right() {
        duties::products(&Device::emulated().unwrap());
    }

    #[test]
    fn tf32_rounds_operands() {
        duties::precisions(&Device::emulated().unwrap());
    }

    #[test]
    fn sequences_repeat() {
        duties::repetition(&Device::emulated().unwrap());
    }

    #[test]
    fn tasks_wait_for_each_other() {
        duties::tasks(&Device::emulated().unwrap());
    }

    #[test]
    fn what_is_timed_runs_once() {
        duties::profiles(&Device::emulated().unwrap());
    }

    #[test]
    fn threads_share_a_device() {
        duties::threads(&Device::emulated().unwrap());
    }

    #[test]
    fn wrong_kernels_launches_and_products_are_errors() {
        duties::errors(&Device::emulated().unwrap());
    }

    #[test]
    fn slips_that_no_card_notices_are_errors() {
        duties::slips(&Device::emulated().unwrap());
    }
}

#[cfg(feature = "cuda")]
mod card {
    use super::{convolutions, duties};
    use cuda_kernels::Device;

    #[test]
    #[ignore = "needs a CUDA device"]
    fn memory_holds_what_is_written() {
        duties::memory(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn what_is_written_may_be_changed_at_once() {
        duties::uploads(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn kernels_run() {
        duties::kernels(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn products_are_right() {
        duties::products(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn tf32_rounds_operands() {
        duties::precisions(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn large_convolutions_in_tf32_are_right() {
        convolutions::large_in_tf32(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn sequences_repeat() {
        duties::repetition(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn tasks_wait_for_each_other() {
        duties::tasks(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn what_is_timed_runs_once() {
        duties::profiles(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn threads_share_a_device() {
        duties::threads(&Device::card(0).unwrap());
    }

    #[test]
    #[ignore = "needs a CUDA device"]
    fn wrong_kernels_launches_and_products_are_errors() {
        duties::errors(&Device::card(0).unwrap());
    }

    #[test]
    fn a_card_that_is_not_there_is_an_error() {
        let error = Device::card(4096).unwrap_err().to_string();
        assert!(!error.is_empty());
    }
}
