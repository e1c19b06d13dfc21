//! The command lines of the roles. A flag here is a setting under the same name: in the file as `keep_ended`, as the
//! flag `--keep-ended` and as the variable `BERTH_KEEP_ENDED`. What they mean is `config`'s, in words for people
//! `docs/configuration.md`'s.

use std::path::PathBuf;

use clap::Args;

/// Flags that are settings, and a list of those that were given, so that none is a flag alone.
macro_rules! settings {
    ($(#[$about:meta])* $name:ident { $($(#[$flag:meta])* $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Args)]
        pub struct $name {
            $($(#[$flag])* #[arg(long)] pub $field: Option<String>,)*
        }

        impl $name {
            /// The settings that the command line gives.
            pub fn given(&self) -> impl Iterator<Item = (&'static str, String)> {
                [$((stringify!($field), self.$field.clone()),)*].into_iter().filter_map(|(key, value)| Some((key, value?)))
            }
        }
    };
}

/// What every role takes.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// A TOML file with settings; flags are stronger, `BERTH_…` variables strongest [env: BERTH_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every setting and where it was taken from, and end
    #[arg(long)]
    pub print_config: bool,
    /// The settings.
    #[command(flatten)]
    pub folder: FolderArgs,
}

settings! {
    /// Where a role keeps what it keeps.
    FolderArgs {
        /// Where everything is kept [default: /var/lib/berth/ and the role's name]
        #[arg(value_name = "FOLDER")]
        data_dir,
    }
}

settings! {
    /// What a server, alone or in `berth dev`, can be told.
    ClusterArgs {
        /// Where to listen [default: 127.0.0.1:4600]
        #[arg(value_name = "ADDRESS:PORT")]
        bind,
        /// Where allocations go until somebody sets a policy: `balanced`, `pack`, `spread` or `fragmentation` [default: balanced]
        policy,
        /// How many allocations may be making room for others of higher priority at once; 0 for none [default: 10]
        #[arg(value_name = "NUMBER")]
        preempt_max,
        /// How often agents report [default: 1s]
        #[arg(value_name = "DURATION")]
        heartbeat,
        /// How long an agent may be silent before its node counts as lost [default: 5s]
        #[arg(value_name = "DURATION")]
        heartbeat_grace,
        /// How far the clocks of machines may drift, in millionths: what is fenced waits for that [default: 200]
        #[arg(value_name = "MILLIONTHS")]
        clock_drift,
        /// How long ended jobs and allocations are kept for questions [default: 24h]
        #[arg(value_name = "DURATION")]
        keep_ended,
        /// How many ended allocations, and how many ended jobs, are kept within that time [default: 10000]
        #[arg(value_name = "NUMBER")]
        keep_ended_max,
        /// How many events are kept [default: 20000]
        #[arg(value_name = "EVENTS")]
        keep_ledger,
        /// How long a command that is sent again is known to be the same [default: 24h]
        #[arg(value_name = "DURATION")]
        keep_commands,
        /// What the journal of decisions may take of the data folder [default: 1GiB]
        #[arg(value_name = "SIZE")]
        journal_max,
        /// Secure connections by TLS: `on`, `off`, or `auto` for on unless it listens on loopback alone [default: auto]
        #[arg(value_name = "auto|on|off")]
        tls,
        /// A file with the key that seals the cluster's certificate authorities [default: sealing.key in the data folder]
        #[arg(value_name = "FILE")]
        sealing_key_file,
        /// A program that prints that key, with its arguments, separated by spaces
        #[arg(value_name = "COMMAND")]
        sealing_key_command,
        /// How long after its end an agent's certificate can still be renewed [default: 30d]
        #[arg(value_name = "DURATION")]
        certificate_grace,
    }
}

settings! {
    /// Where a server of its own keeps the cluster's state.
    StoreArgs {
        /// Where other servers and agents reach this one [default: where it listens]
        #[arg(value_name = "URL")]
        advertise,
        /// Servers of the cluster that this one is to join, to get its sealing key from them
        #[arg(value_name = "URL,…")]
        join,
        /// A file with the token to join with
        #[arg(value_name = "FILE")]
        join_token_file,
        /// Keep the cluster's state in the etcd with these members, not in the data folder
        #[arg(value_name = "URL,…")]
        etcd,
        /// What every key in etcd begins with [default: berth/]
        #[arg(value_name = "TEXT")]
        etcd_prefix,
        /// The certificate authority of etcd's members (PEM)
        #[arg(value_name = "FILE")]
        etcd_ca,
        /// Our certificate for etcd (PEM)
        #[arg(value_name = "FILE")]
        etcd_cert,
        /// Its key (PEM)
        #[arg(value_name = "FILE")]
        etcd_key,
        /// Our user in etcd
        #[arg(value_name = "NAME")]
        etcd_user,
        /// A file with its password
        #[arg(value_name = "FILE")]
        etcd_password_file,
    }
}

settings! {
    /// How an agent of its own reaches the server.
    ServerAddressArgs {
        /// The server [default: http://127.0.0.1:4600]
        #[arg(value_name = "URL")]
        server,
        /// A file with the servers' token, where they listen without TLS [default: /etc/berth/token]
        #[arg(value_name = "FILE")]
        token_file,
        /// A file with the token to join with, where the agent has not joined yet
        #[arg(value_name = "FILE")]
        join_token_file,
    }
}

settings! {
    /// What an agent, alone or in `berth dev`, can be told about its node.
    NodeArgs {
        /// The node's name [default: the host's]
        name,
        /// Where the node's ports are reached [default: 127.0.0.1]
        #[arg(value_name = "IP")]
        address,
        /// The rack that the node stands in
        rack,
        /// The zone that the node stands in
        zone,
        /// Labels that jobs can ask for: `disk=ssd,rack=a`
        #[arg(value_name = "KEY=VALUE,…")]
        labels,
        /// Processor time to offer instead of what was found, such as `4` or `3500m`
        cpu,
        /// Memory to offer instead of what was found, such as `8GiB`
        memory,
        /// Disk to offer instead of what was found, such as `100GiB`
        disk,
        /// Network bandwidth to offer instead of what was found, such as `10Gbit`
        network,
        /// The ports that are given out by number [default: 20000-32000]
        #[arg(value_name = "FIRST-LAST")]
        dynamic_ports,
        /// An OCI runtime to use instead of the one built in, such as `/usr/sbin/runc`
        #[arg(value_name = "PROGRAM")]
        oci_runtime,
        /// The cgroup under which allocations have theirs [default: berth]
        #[arg(value_name = "PATH")]
        cgroup_parent,
        /// The size that the image cache is kept under [default: 20GiB]
        image_cache,
        /// How often it is measured what tasks hold of the disk, and what is left [default: 30s]
        #[arg(value_name = "DURATION")]
        measure,
        /// What must be free of the disk, or nothing new is placed here [default: a twentieth of it, at most 1GiB]
        disk_reserve,
    }
}

/// `berth dev`
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// What every role takes.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The server's settings.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The agent's settings.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// `berth server`
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// What every role takes.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The server's settings.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Where it keeps the cluster's state.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `berth agent`
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// What every role takes.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How it reaches the server.
    #[command(flatten)]
    pub reach: ServerAddressArgs,
    /// The agent's settings.
    #[command(flatten)]
    pub node: NodeArgs,
}
