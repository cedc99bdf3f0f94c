//! The published image sets that can be fetched: their homes, files, sizes and checksums.
//!
//! Sizes and SHA-256 sums are those recorded by TensorFlow Datasets (`url_checksums`). They are of the files as published:
//! the same images compressed anew have other sums.

use crate::{Error, Result};

/// A published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedFile {
    /// Name, at its homes and in the folder.
    pub name: &'static str,
    /// Length.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: &'static str,
}

/// A file inside a published archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Name without the archive's folder.
    pub name: &'static str,
    /// Length where it is part of the format; texts have any.
    pub bytes: Option<u64>,
}

/// A published set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedSet {
    /// Name on the command line.
    pub name: &'static str,
    /// What it is and whose.
    pub title: &'static str,
    /// Addresses that file names are appended to, tried in turn.
    pub homes: &'static [&'static str],
    /// The files to fetch.
    pub files: &'static [PublishedFile],
    /// For a set published as one archive (`.tar.gz`): what to take out of it. Empty otherwise.
    pub members: &'static [Member],
}

/// All sets that can be fetched.
pub const SETS: [PublishedSet; 5] = [
    PublishedSet {
        name: "mnist",
        title: "handwritten digits (LeCun, Cortes, Burges)",
        homes: &[
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ],
        files: &[
            PublishedFile {
                name: "train-images-idx3-ubyte.gz",
                bytes: 9_912_422,
                sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            },
            PublishedFile {
                name: "train-labels-idx1-ubyte.gz",
                bytes: 28_881,
                sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            },
            PublishedFile {
                name: "t10k-images-idx3-ubyte.gz",
                bytes: 1_648_877,
                sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            },
            PublishedFile {
                name: "t10k-labels-idx1-ubyte.gz",
                bytes: 4_542,
                sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            },
        ],
        members: &[],
    },
    PublishedSet {
        name: "fashion-mnist",
        title: "articles of clothing (Xiao, Rasul, Vollgraf; MIT licence)",
        homes: &[
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ],
        files: &[
            PublishedFile {
                name: "train-images-idx3-ubyte.gz",
                bytes: 26_421_880,
                sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            },
            PublishedFile {
                name: "train-labels-idx1-ubyte.gz",
                bytes: 29_515,
                sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            },
            PublishedFile {
                name: "t10k-images-idx3-ubyte.gz",
                bytes: 4_422_102,
                sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            },
            PublishedFile {
                name: "t10k-labels-idx1-ubyte.gz",
                bytes: 5_148,
                sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            },
        ],
        members: &[],
    },
    PublishedSet {
        name: "kmnist",
        title: "cursive Japanese characters (Clanuwat et al.; CC BY-SA 4.0)",
        homes: &["https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
        files: &[
            PublishedFile {
                name: "train-images-idx3-ubyte.gz",
                bytes: 18_165_135,
                sha256: "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            },
            PublishedFile {
                name: "train-labels-idx1-ubyte.gz",
                bytes: 29_497,
                sha256: "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            },
            PublishedFile {
                name: "t10k-images-idx3-ubyte.gz",
                bytes: 3_041_136,
                sha256: "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            },
            PublishedFile {
                name: "t10k-labels-idx1-ubyte.gz",
                bytes: 5_120,
                sha256: "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            },
        ],
        members: &[],
    },
    PublishedSet {
        name: "cifar10",
        title: "small colour photographs in 10 classes, binary version (Krizhevsky)",
        homes: &["https://www.cs.toronto.edu/~kriz/"],
        files: &[PublishedFile {
            name: "cifar-10-binary.tar.gz",
            bytes: 170_052_171,
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        }],
        members: &[
            Member { name: "data_batch_1.bin", bytes: Some(30_730_000) },
            Member { name: "data_batch_2.bin", bytes: Some(30_730_000) },
            Member { name: "data_batch_3.bin", bytes: Some(30_730_000) },
            Member { name: "data_batch_4.bin", bytes: Some(30_730_000) },
            Member { name: "data_batch_5.bin", bytes: Some(30_730_000) },
            Member { name: "test_batch.bin", bytes: Some(30_730_000) },
            Member { name: "batches.meta.txt", bytes: None },
        ],
    },
    PublishedSet {
        name: "cifar100",
        title: "small colour photographs in 100 classes, binary version (Krizhevsky)",
        homes: &["https://www.cs.toronto.edu/~kriz/"],
        files: &[PublishedFile {
            name: "cifar-100-binary.tar.gz",
            bytes: 168_513_733,
            sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        }],
        members: &[
            Member { name: "train.bin", bytes: Some(153_700_000) },
            Member { name: "test.bin", bytes: Some(30_740_000) },
            Member { name: "fine_label_names.txt", bytes: None },
            Member { name: "coarse_label_names.txt", bytes: None },
        ],
    },
];

impl PublishedSet {
    /// The set of this name.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none; it lists those there are.
    ///
    /// # Examples
    /// ```
    /// use livi::data::images::published::PublishedSet;
    /// let set = PublishedSet::named("cifar10").unwrap();
    /// assert_eq!(set.urls(&set.files[0]), ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]);
    /// ```
    pub fn named(name: &str) -> Result<&'static Self> {
        SETS.iter().find(|set| set.name == name).ok_or_else(|| {
            let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
            let problem = format!("`{name}` is not a set that can be fetched, expected one of {}", names.join(", "));
            Error::Argument { name: "set".into(), problem }
        })
    }

    /// Where a file of this set can be had, in the order to try.
    pub fn urls(&self, file: &PublishedFile) -> Vec<String> {
        self.homes.iter().map(|home| format!("{home}{}", file.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete() {
        for set in &SETS {
            assert!(!set.files.is_empty() && set.homes.iter().all(|home| home.ends_with('/')), "{}", set.name);
            assert_eq!(set.members.is_empty(), !set.files[0].name.ends_with(".tar.gz"), "{}", set.name);
            for file in set.files {
                let hexadecimal = file.sha256.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
                assert!(file.sha256.len() == 64 && hexadecimal && file.bytes > 0, "{} {}", set.name, file.name);
            }
        }
    }

    #[test]
    fn no_two_files_have_one_checksum() {
        let mut sums: Vec<&str> = SETS.iter().flat_map(|set| set.files).map(|file| file.sha256).collect();
        let count = sums.len();
        sums.sort_unstable();
        sums.dedup();
        assert_eq!((sums.len(), count), (14, 14));
    }

    #[test]
    fn an_unknown_set_lists_those_there_are() {
        let message = PublishedSet::named("imagenet").unwrap_err().to_string();
        assert!(message.contains("`imagenet`") && message.contains("fashion-mnist, kmnist, cifar10"), "{message}");
    }
}
