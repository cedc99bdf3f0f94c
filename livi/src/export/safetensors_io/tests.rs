use super::*;

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

fn example() -> Vec<NamedTensor> {
    vec![
        NamedTensor::new("0.weight", [2, 3], TensorData::F32(vec![1.5, -2.0, 3.25, f32::MIN_POSITIVE, -0.0, 7.0])),
        NamedTensor::new("0.bias", [2], TensorData::F64(vec![std::f64::consts::PI, f64::MIN])),
        NamedTensor::new("step", [], TensorData::I64(vec![i64::MIN])),
        NamedTensor::new("counter", [1, 2], TensorData::U64(vec![u64::MAX, 3])),
        NamedTensor::new("nothing", [0, 4], TensorData::F32(vec![])),
    ]
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tensors.safetensors");
    let metadata = BTreeMap::from([("config".to_string(), "a = 1\nb = \"ü\"".to_string())]);
    write_tensors(&path, &example(), &metadata).unwrap();
    (folder, path)
}

#[test]
fn every_type_shape_and_bit_survives_a_round_trip() {
    let (_folder, path) = written();
    let file = read_tensors(&path).unwrap();
    for tensor in example() {
        let read = file.get(&tensor.name).unwrap();
        assert_eq!(read.shape, tensor.shape);
        assert_eq!(read.data.dtype_name(), tensor.data.dtype_name());
        assert_eq!(read.data.little_endian_bytes(), tensor.data.little_endian_bytes(), "{}", tensor.name);
    }
    assert_eq!(file.names().count(), 5);
    assert_eq!(file.metadata_value("config").unwrap(), "a = 1\nb = \"ü\"");
}

#[test]
fn the_public_writer_and_ours_lay_the_numbers_out_alike() {
    // The bytes after the header must be what the safetensors crate itself writes.
    let (_folder, path) = written();
    let ours = fs::read(&path).unwrap();
    let (header, _) = SafeTensors::read_metadata(&ours).unwrap();
    let all: Vec<(String, Vec<u8>, Dtype, Vec<usize>)> = example()
        .into_iter()
        .map(|tensor| (tensor.name, tensor.data.little_endian_bytes(), tensor.data.dtype(), tensor.shape))
        .collect();
    let views = all.iter().map(|(name, bytes, dtype, shape)| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let theirs = safetensors::serialize(views, None).unwrap();
    let (their_header, _) = SafeTensors::read_metadata(&theirs).unwrap();
    let read = |bytes: &[u8]| {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let mut tensors: Vec<_> = file.iter().map(|(name, view)| (name.to_string(), view.data().to_vec())).collect();
        tensors.sort();
        tensors
    };
    assert_eq!(read(&ours), read(&theirs));
    assert_eq!(ours.len() - 8 - header, theirs.len() - 8 - their_header);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let metadata: BTreeMap<String, String> = (0..20).map(|i| (format!("key{i}"), format!("{i}"))).collect();
    let mut reversed = example();
    reversed.reverse();
    let (first, second) = (folder.path().join("a"), folder.path().join("b"));
    write_tensors(&first, &example(), &metadata).unwrap();
    write_tensors(&second, &reversed, &metadata).unwrap();
    assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap());
}

#[test]
fn a_file_truncated_anywhere_is_refused_by_name() {
    let (folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    let cut = folder.path().join("cut.safetensors");
    for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        fs::write(&cut, &bytes[..length]).unwrap();
        let message = message(read_tensors(&cut));
        assert!(message.contains("cut.safetensors") && message.contains("truncated"), "{message}");
    }
}

#[test]
fn a_foreign_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    fs::write(&path, b"\x89PNG\r\n\x1a\nand so on, which is no header of tensors").unwrap();
    let message = message(read_tensors(&path));
    assert!(message.contains("picture.png") && message.contains("another format"), "{message}");
}

#[test]
fn an_element_type_of_other_programs_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.safetensors");
    let view = safetensors::tensor::TensorView::new(Dtype::F16, vec![2], &[0; 4]).unwrap();
    fs::write(&path, safetensors::serialize([("w", view)], None).unwrap()).unwrap();
    let message = message(read_tensors(&path));
    assert!(message.contains("`w`") && message.contains("F16") && message.contains("F32"), "{message}");
}

#[test]
fn a_missing_tensor_lists_those_that_are_there() {
    let (_folder, path) = written();
    let file = read_tensors(&path).unwrap();
    let message = message(file.f32("1.weight", &[2]));
    assert!(message.contains("`1.weight`: is missing") && message.contains("`0.bias`, `0.weight`"), "{message}");
}

#[test]
fn a_wrong_shape_says_found_and_expected() {
    let (_folder, path) = written();
    let file = read_tensors(&path).unwrap();
    let message = message(file.f32("0.weight", &[3, 2]));
    assert!(message.contains("[2, 3]") && message.contains("expected [3, 2]"), "{message}");
}

#[test]
fn a_wrong_element_type_says_found_and_expected() {
    let (_folder, path) = written();
    let file = read_tensors(&path).unwrap();
    let message = message(file.f64("0.weight", &[2, 3]));
    assert!(message.contains("F32, expected F64"), "{message}");
}

#[test]
fn a_missing_metadata_key_lists_those_that_are_there() {
    let (_folder, path) = written();
    let message = message(read_tensors(&path).unwrap().metadata_value("seed").map(str::to_string));
    assert!(message.contains("`seed`") && message.contains("`config`"), "{message}");
}

#[test]
fn data_that_does_not_fill_its_shape_is_refused_and_the_old_file_stands() {
    let (_folder, path) = written();
    let before = fs::read(&path).unwrap();
    let wrong = NamedTensor::new("w", [2, 2], TensorData::F32(vec![1.0; 3]));
    let message = message(write_tensors(&path, &[wrong], &BTreeMap::new()));
    assert!(message.contains("3 elements") && message.contains("needs 4"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_name_used_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = NamedTensor::new("w", [1], TensorData::F32(vec![1.0]));
    let message = message(write_tensors(folder.path().join("x"), &[tensor.clone(), tensor], &BTreeMap::new()));
    assert!(message.contains("`w`") && message.contains("twice"), "{message}");
}

#[test]
fn a_tensor_taken_out_is_gone_afterwards() {
    let (_folder, path) = written();
    let mut file = read_tensors(&path).unwrap();
    assert_eq!(file.take("counter").unwrap().data, TensorData::U64(vec![u64::MAX, 3]));
    assert!(message(file.take("counter")).contains("missing"));
}
