//! Small data and settings.

use livi::Result;
use livi::config::Config;
use livi::data::{Dataset, Standardiser, Table, Training};
use livi::posterior::Posterior;
use livi::train::Trainer;

pub fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

pub fn table() -> Table {
    let x = (0..24).map(|k| f64::from(k % 7)).collect();
    let y = (0..24).map(|k| f64::from(k * k % 11)).collect();
    Table::new(x, y, 12, names(&["a", "b"]), names(&["u", "v"])).unwrap()
}

pub fn dataset() -> Dataset {
    let standardiser = Standardiser::fit(&table()).unwrap();
    let training = Training::Table(table());
    Dataset { name: "mine".into(), training, validation: None, test: None, standardiser }
}

pub fn config(settings: &[&str]) -> Config {
    let mut config = Config::default();
    let small =
        ["data.source=memory", "network.hidden=[3]", "sampler.latent=[2]", "sampler.hidden=[4]", "training.steps=3"];
    small.iter().chain(settings).for_each(|setting| config.set(setting).unwrap());
    config
}

pub fn posterior() -> Posterior {
    let mut trainer = Trainer::new(&config(&[]), &dataset(), 1, None).unwrap();
    trainer.advance().unwrap();
    trainer.into_posterior().unwrap()
}

pub fn refused<T>(result: Result<T>, parts: &[&str]) {
    let message = result.err().expect("an error").to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}
