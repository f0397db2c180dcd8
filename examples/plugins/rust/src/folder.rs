// SPDX-License-Identifier: Apache-2.0

//! What stands in for an API. A folder holds a file for each server: the request that made it, "op_id" that made
//! it, and "changed_by", the op id that changed it last.

use crate::json::{encode, parse, text, text_of, Object, Value};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub struct Folder {
    path: PathBuf,
}

fn carries(o: &Object, filter: &Object) -> bool {
    ["kind", "op_id", "workflow", "site"]
        .iter()
        .all(|mark| text_of(filter, mark).is_empty() || text_of(filter, mark) == text_of(o, mark))
}

impl Folder {
    pub fn new(path: &str) -> io::Result<Folder> {
        fs::create_dir_all(path)?;
        Ok(Folder { path: Path::new(path).to_path_buf() })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{}.json", name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    pub fn read(&self, name: &str) -> Option<Object> {
        parse(&fs::read(self.file(name)).ok()?)
    }

    /// Whole or not at all: a reader never sees half a file, and a crash leaves the old one.
    pub fn write(&self, name: &str, o: &Object) -> io::Result<()> {
        let temporary = self.path.join(format!(".{}", name));
        let mut file = File::create(&temporary)?;
        file.write_all(encode(o).as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.file(name))?;
        self.sync()
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))?;
        self.sync()
    }

    pub fn list(&self, filter: &Object) -> io::Result<Vec<Value>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let name = match name.to_str().and_then(|n| n.strip_suffix(".json")) {
                Some(n) if !n.starts_with('.') => n.to_string(),
                _ => continue,
            };
            if let Some(o) = self.read(&name).filter(|o| carries(o, filter)) {
                let mut r = Object::new();
                for key in ["kind", "name", "op_id", "workflow"] {
                    r.insert(key.to_string(), text(text_of(&o, key)));
                }
                let id = Object::from([("id".to_string(), text(text_of(&o, "op_id")))]);
                r.insert("identity".to_string(), Value::Object(id));
                all.push(Value::Object(r));
            }
        }
        Ok(all)
    }
}
