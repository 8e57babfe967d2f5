//! AF_XDP without a copy, in a virtual machine: QEMU emulates a virtio network device, and a kernel of Debian's backports
//! has a driver that does it (Linux 6.13). By emulation of the processor: this shows that it works, never how fast.
//!
//! ```text
//!   apt-get download ─▶ kernel, modules ─┐
//!   cargo build ─▶ zero-copy, libraries ─┴▶ initramfs ─▶ QEMU: eth0 ◀─ hub ─▶ eth1 ─▶ "guest: exit 0" on the console
//! ```
//!
//! Nothing is installed, and the machine's own package lists stay as they are. What was downloaded is kept in the target
//! directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;
use crate::steps::{Outcome, Report, Step};
use crate::workspace::Workspace;

const QEMU: &str = "qemu-system-x86_64";
const TOOLS: &[&str] = &[QEMU, "busybox", "cpio", "modprobe", "depmod", "xz", "ldd"];
/// The first kernel whose virtio driver sends and receives without a copy.
const RELEASE_MIN: [u32; 2] = [6, 13];
const SECONDS_MAX: &str = "300";

/// Why something was not done, and whether that is a failure.
enum Stop {
    NotRun(String),
    Failed(String),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A kernel that was unpacked.
struct Kernel {
    release: String,
    root: PathBuf,
    image: PathBuf,
}

/// Runs the link suite in the guest.
pub(crate) fn zero_copy(workspace: &Workspace, report: &mut Report) {
    report.step("guest: AF_XDP zero-copy on virtio_net", |step| match attempt(workspace, step) {
        Ok(()) => Outcome::passed(1),
        Err(Stop::NotRun(why)) => Outcome::not_run(1, why),
        Err(Stop::Failed(why)) => Outcome::failed(1, why),
    });
}

fn attempt(workspace: &Workspace, step: &mut Step) -> Result<(), Stop> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Stop::NotRun("the guest is x86-64, as its test program has to be".to_owned()));
    }
    let missing: Vec<_> = TOOLS.iter().copied().filter(|tool| !packages::is_on_path(tool)).collect();
    if !missing.is_empty() {
        return Err(Stop::NotRun(format!("{} missing: cargo xtask install, as root", missing.join(", "))));
    }
    let directory = workspace.target.join("xtask").join("guest");
    let kernel = kernel(step, &directory)?;
    let build = workspace.cargo(&["build", "--locked", "-p", "conformance", "--example", "zero-copy"]);
    succeeds(step, build)?;
    let program = workspace.target.join("debug/examples/zero-copy");
    let initramfs = initramfs(step, &directory, &kernel, &program)?;
    boot(step, &kernel, &initramfs)
}

/// The kernel that was unpacked before, or a new one.
fn kernel(step: &mut Step, directory: &Path) -> Result<Kernel, Stop> {
    let kernels = directory.join("kernels");
    fs::create_dir_all(&kernels)?;
    let unpacked = fs::read_dir(&kernels)?.flatten().map(|entry| entry.path()).find_map(|root| {
        let release = root.file_name()?.to_str()?.to_owned();
        unpacked(release, root)
    });
    if let Some(kernel) = unpacked {
        return Ok(kernel);
    }
    let apt = PrivateApt::new(step, &directory.join("apt"))?;
    let release = apt.release(step)?;
    let root = kernels.join(&release);
    // What is only half there must not be found the next time.
    let part = directory.join("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    let names = ["linux-binary-", "linux-modules-"].map(|prefix| format!("{prefix}{release}"));
    let mut download = apt.command("apt-get");
    download.current_dir(&part).arg("download").args(&names);
    fetched(step, download)?;
    for entry in fs::read_dir(&part)?.flatten() {
        let mut unpack = Command::new("dpkg");
        unpack.arg("-x").arg(entry.path()).arg(part.join("root"));
        succeeds(step, unpack)?;
    }
    // Where depmod looks.
    if !part.join("root/lib").exists() {
        symlink("usr/lib", part.join("root/lib"))?;
    }
    let mut depmod = Command::new("depmod");
    depmod.arg("-b").arg(part.join("root")).arg(&release);
    succeeds(step, depmod)?;
    fs::rename(part.join("root"), &root)?;
    fs::remove_dir_all(&part)?;
    unpacked_or_strange(release, root)
}

fn unpacked(release: String, root: PathBuf) -> Option<Kernel> {
    let places = [
        root.join("lib/modules").join(&release).join("vmlinuz"),
        root.join(format!("boot/vmlinuz-{release}")),
    ];
    let image = places.into_iter().find(|place| place.is_file())?;
    Some(Kernel { release, root, image })
}

fn unpacked_or_strange(release: String, root: PathBuf) -> Result<Kernel, Stop> {
    let shown = root.display().to_string();
    unpacked(release, root)
        .ok_or_else(|| Stop::NotRun(format!("no kernel in the package unpacked at {shown}")))
}

/// apt with lists of its own, of the backports only.
struct PrivateApt {
    configuration: PathBuf,
}

impl PrivateApt {
    fn new(step: &mut Step, directory: &Path) -> Result<Self, Stop> {
        let mirror = mirror(step)?;
        for place in ["state/lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(directory.join(place))?;
        }
        let at = directory.display();
        let configuration = directory.join("apt.conf");
        let lines = format!(
            "Dir::State \"{at}/state\";\nDir::State::status \"/var/lib/dpkg/status\";\nDir::Cache \"{at}/cache\";\n\
             Dir::Etc::SourceList \"{at}/sources.list\";\nDir::Etc::SourceParts \"{at}/none\";\n"
        );
        fs::write(&configuration, lines)?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let source = format!("deb [signed-by={keyring}] {mirror} stable-backports main\n");
        fs::write(directory.join("sources.list"), source)?;
        let apt = Self { configuration };
        let mut update = apt.command("apt-get");
        update.arg("update");
        fetched(step, update)?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration);
        command
    }

    /// The newest release of the small kernel for virtual machines.
    fn release(&self, step: &mut Step) -> Result<String, Stop> {
        let mut names = self.command("apt-cache");
        names.args(["pkgnames", "linux-binary-"]);
        let listed = step.answer(names).map(|(_, names)| names).unwrap_or_default();
        newest(listed.lines().filter_map(|name| name.strip_prefix("linux-binary-"))).ok_or_else(|| {
            Stop::NotRun("the backports have no kernel for virtual machines since 6.13".to_owned())
        })
    }
}

/// Where this machine gets its Debian packages.
fn mirror(step: &mut Step) -> Result<String, Stop> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"]);
    let listed = step.answer(targets).map(|(_, lines)| lines).unwrap_or_default();
    listed.lines().find_map(|line| line.strip_prefix("Debian|")).map(str::to_owned).ok_or_else(|| {
        Stop::NotRun("apt has no Debian mirror configured: its kernel cannot be had".to_owned())
    })
}

/// The newest release for virtual machines that is new enough.
fn newest<'a>(releases: impl Iterator<Item = &'a str>) -> Option<String> {
    let numbers = |release: &str| -> Vec<u32> {
        release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    releases
        .filter(|release| {
            release.starts_with(|c: char| c.is_ascii_digit()) && release.ends_with("-cloud-amd64")
        })
        .map(|release| (numbers(release), release))
        .filter(|(numbers, _)| numbers.get(..2).is_some_and(|numbers| numbers >= &RELEASE_MIN[..]))
        .max()
        .map(|(_, release)| release.to_owned())
}

/// What the guest's first process does.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
ulimit -l unlimited
while read module; do insmod /modules/$module; done </modules/order
/bin/zero-copy eth0 eth1
echo \"guest: exit $?\"
echo o >/proc/sysrq-trigger
sleep 10
";

fn initramfs(step: &mut Step, directory: &Path, kernel: &Kernel, program: &Path) -> Result<PathBuf, Stop> {
    let root = directory.join("root");
    let _ = fs::remove_dir_all(&root);
    for place in ["bin", "modules", "dev", "proc", "sys"] {
        fs::create_dir_all(root.join(place))?;
    }
    fs::copy(packages::place_of("busybox").unwrap_or_default(), root.join("bin/busybox"))?;
    fs::copy(program, root.join("bin/zero-copy"))?;
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    let libraries = step.answer(ldd).map(|(_, lines)| lines).unwrap_or_default();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap_or(&root))?;
        fs::copy(library, inside)?;
    }
    let mut order = String::new();
    for module in modules(step, kernel)? {
        let name = module.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let plain = name.trim_end_matches(".xz").to_owned();
        if plain == name {
            fs::copy(&module, root.join("modules").join(&name))?;
        } else {
            let output = Command::new("xz").arg("-dc").arg(&module).output()?;
            fs::write(root.join("modules").join(&plain), output.stdout)?;
        }
        order.push_str(&plain);
        order.push('\n');
    }
    fs::write(root.join("modules/order"), order)?;
    fs::write(root.join("init"), INIT)?;
    let archive = directory.join("initramfs");
    let mut pack = Command::new("sh");
    pack.args(["-c", "chmod +x init && find . | cpio --create --format=newc --quiet >../initramfs"]);
    pack.current_dir(&root);
    succeeds(step, pack)?;
    Ok(archive)
}

/// The driver, and what it needs, in the order in which they are to be loaded.
fn modules(step: &mut Step, kernel: &Kernel) -> Result<Vec<PathBuf>, Stop> {
    let mut modprobe = Command::new("modprobe");
    modprobe.arg("-d").arg(&kernel.root).args(["-S", &kernel.release, "--show-depends", "virtio_net"]);
    let listed = step.answer(modprobe).map(|(_, lines)| lines).unwrap_or_default();
    let modules: Vec<_> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("insmod "))
        .filter_map(|line| line.split_whitespace().next())
        .map(PathBuf::from)
        .collect();
    if modules.is_empty() {
        return Err(Stop::NotRun(format!("{} has no virtio_net", kernel.release)));
    }
    Ok(modules)
}

fn boot(step: &mut Step, kernel: &Kernel, initramfs: &Path) -> Result<(), Stop> {
    step.note(&format!("kernel {}", kernel.release));
    let mut qemu = Command::new("timeout");
    qemu.args([SECONDS_MAX, QEMU, "-accel", "tcg", "-cpu", "max", "-M", "q35", "-m", "1024", "-smp", "1"]);
    qemu.args(["-nodefaults", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]);
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 quiet loglevel=4 no_timer_check panic=-1 mitigations=off"]);
    for (id, mac) in [("a", "52:54:00:00:00:0a"), ("b", "52:54:00:00:00:0b")] {
        qemu.arg("-netdev").arg(format!("hubport,id={id},hubid=0"));
        // Zero-copy needs queues that can be reset, and memory that is mapped for the device.
        let device = format!(
            "virtio-net-pci,netdev={id},mac={mac},disable-legacy=on,iommu_platform=on,queue_reset=on"
        );
        qemu.arg("-device").arg(device);
    }
    let Some((_, said)) = step.output(qemu) else {
        return Err(Stop::NotRun(format!("{QEMU} could not be started")));
    };
    match said.lines().find_map(|line| line.trim().strip_prefix("guest: exit ")) {
        Some("0") => Ok(()),
        Some(status) => Err(Stop::Failed(format!("the guest's program ended with status {status}"))),
        None => Err(Stop::Failed("the guest did not come to its end".to_owned())),
    }
}

/// What needs the network may not be had.
fn fetched(step: &mut Step, command: Command) -> Result<(), Stop> {
    match step.run(command) {
        outcome if outcome.failed == 0 => Ok(()),
        outcome => Err(Stop::NotRun(format!("the kernel could not be fetched: {}", outcome.remark))),
    }
}

fn succeeds(step: &mut Step, command: Command) -> Result<(), Stop> {
    match step.run(command) {
        outcome if outcome.failed == 0 => Ok(()),
        outcome => Err(Stop::Failed(outcome.remark)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_for_virtual_machines_is_chosen_by_number() {
        let listed = [
            "6.16.3+deb13-cloud-amd64",
            "7.2.9+deb13-cloud-amd64",
            "7.2.12+deb13-cloud-amd64",
            "7.2.12+deb13-amd64",
            "unsigned-7.3.4+deb13-cloud-amd64",
        ];
        assert_eq!(newest(listed.into_iter()).as_deref(), Some("7.2.12+deb13-cloud-amd64"));
    }

    #[test]
    fn a_kernel_without_the_mode_is_none() {
        assert_eq!(newest(["6.12.107+deb13-cloud-amd64"].into_iter()), None);
    }
}
