using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Nucleus.Native;

namespace Nucleus
{
    /// <summary>Which room to join, and how. Only <see cref="Server"/> and <see cref="Token"/> are
    /// needed.</summary>
    public sealed unsafe class ConnectOptions
    {
        /// <summary>Makes options.</summary>
        public ConnectOptions(string server = null, string token = null, string room = null)
        {
            Server = server;
            Token = token;
            Room = room;
        }

        /// <summary><c>host:port</c>, or <c>host</c> for port 5055.</summary>
        public string Server { get; set; }

        /// <summary>The join token, from the application's backend or from <c>nucleus token</c>.</summary>
        public string Token { get; set; }

        /// <summary>The room's name. Null: the room that the token names, or else "demo".</summary>
        public string Room { get; set; }

        /// <summary>The display name. Null: the name in the token.</summary>
        public string Name { get; set; }

        /// <summary>The application's version: clients of different versions are never in the same
        /// room.</summary>
        public string Version { get; set; }

        /// <summary>The room's password. Null: none.</summary>
        public string Password { get; set; }

        /// <summary>Name and version of the application, for the server's operator.</summary>
        public string Agent { get; set; }

        /// <summary>What <see cref="Nucleus.Room.Ticket"/> returned in an earlier process, to resume its
        /// session. Null: none.</summary>
        public string Ticket { get; set; }

        /// <summary>CA certificates in PEM that are trusted. Null: the pins in the token, or else public
        /// certificates.</summary>
        public string CaPem { get; set; }

        /// <summary>How the room is chosen.</summary>
        public JoinMode Mode { get; set; }

        /// <summary>Conditions on a room, for the modes that match. At most 8.</summary>
        public List<RoomFilter> Filters { get; private set; } = new List<RoomFilter>();

        /// <summary>How the room is made, if this join creates it.</summary>
        public RoomFlags RoomFlags { get; set; }

        /// <summary>Most peers in a room that this join creates. 0: the server's default.</summary>
        public int Capacity { get; set; }

        /// <summary>How long a room that this join creates stays when it is empty.</summary>
        public TimeSpan EmptyTtl { get; set; }

        /// <summary>Fields of a room that this join creates.</summary>
        public Dictionary<string, Value> Fields { get; private set; } = new Dictionary<string, Value>();

        /// <summary>Keys of the fields that the lobby shows of a room that this join creates. At most
        /// 8.</summary>
        public List<string> Listed { get; private set; } = new List<string>();

        /// <summary>Ids of users for whom seats are reserved for a minute. Each must still join. At most
        /// 16.</summary>
        public List<string> ExpectedUsers { get; private set; } = new List<string>();

        /// <summary>How long the client tries to resume a lost session. Null: two minutes. Zero: not at
        /// all.</summary>
        public TimeSpan? Patience { get; set; }

        /// <summary>Realtime messages travel inside the session, for networks that only let one port
        /// through.</summary>
        public bool NoRealtimePort { get; set; }

        /// <summary>Returns a fresh token when the server wants one (<see cref="Nucleus.Room.TokenWanted"/>).
        /// Null: the application calls <see cref="Nucleus.Room.RenewAsync"/> itself.</summary>
        public Func<Task<string>> TokenProvider { get; set; }

        /// <summary>Begins to join, and returns the room's number.</summary>
        internal ulong Connect(ulong client)
        {
            using (var memory = new ArgumentMemory())
            {
                var native = new NcConnect
                {
                    size = (uint)sizeof(NcConnect),
                    mode = (uint)Mode,
                    server = memory.Text(Server, "Server"),
                    token = memory.Text(Token, "Token"),
                    room = memory.Text(Room, "Room"),
                    name = memory.Text(Name, "Name"),
                    version = memory.Text(Version, "Version"),
                    password = memory.Text(Password, "Password"),
                    agent = memory.Text(Agent, "Agent"),
                    ticket = memory.Text(Ticket, "Ticket"),
                    ca_pem = memory.Text(CaPem, "CaPem"),
                    filters = RoomFilter.Native(Filters, memory),
                    filter_count = (uint)Filters.Count,
                    room_flags = (uint)RoomFlags,
                    capacity = checked((uint)Capacity),
                    empty_ttl_ms = Milliseconds(EmptyTtl, "EmptyTtl"),
                    fields = NativeFields(memory),
                    field_count = (uint)Fields.Count,
                    listed = memory.Texts(Listed, "Listed"),
                    listed_count = (uint)Listed.Count,
                    patience_ms = PatienceMilliseconds(Patience),
                    no_realtime_port = NoRealtimePort ? 1u : 0u,
                    expected = memory.Texts(ExpectedUsers, "ExpectedUsers"),
                    expected_count = (uint)ExpectedUsers.Count,
                };
                ulong room;
                Failures.Check(NativeMethods.nc_connect(client, &native, &room));
                return room;
            }
        }

        /// <summary>Returns the C library's number: 0 is the default, and 1 the shortest time.</summary>
        internal static uint PatienceMilliseconds(TimeSpan? patience)
        {
            return patience == null ? 0 : Math.Max(1, Milliseconds(patience.Value, "Patience"));
        }

        internal static uint Milliseconds(TimeSpan time, string what)
        {
            double milliseconds = time.TotalMilliseconds;
            if (milliseconds < 0 || milliseconds > uint.MaxValue)
            {
                throw new ArgumentOutOfRangeException(what, "a time is 0 to 49 days");
            }
            return (uint)milliseconds;
        }

        NcField* NativeFields(ArgumentMemory memory)
        {
            var fields = (NcField*)memory.Zeroed(Fields.Count, sizeof(NcField));
            NcField* next = fields;
            foreach (KeyValuePair<string, Value> field in Fields)
            {
                next->key = memory.Text(field.Key, "Fields");
                next->value = field.Value.Native(memory);
                next++;
            }
            return fields;
        }
    }

    /// <summary>How to open a social session. Only <see cref="Server"/> and <see cref="Token"/> are
    /// needed.</summary>
    public sealed unsafe class EnterOptions
    {
        /// <summary>Makes options.</summary>
        public EnterOptions(string server = null, string token = null)
        {
            Server = server;
            Token = token;
        }

        /// <summary><c>host:port</c>, or <c>host</c> for port 5055.</summary>
        public string Server { get; set; }

        /// <summary>The join token. Its room has no effect here.</summary>
        public string Token { get; set; }

        /// <summary>The display name. Null: the name in the token.</summary>
        public string Name { get; set; }

        /// <summary>Name and version of the application, for the server's operator.</summary>
        public string Agent { get; set; }

        /// <summary>As in <see cref="ConnectOptions.CaPem"/>.</summary>
        public string CaPem { get; set; }

        /// <summary>The first status.</summary>
        public UserStatus Status { get; set; }

        /// <summary>As in <see cref="ConnectOptions.Patience"/>.</summary>
        public TimeSpan? Patience { get; set; }

        /// <summary>Begins to open the session, and returns its number.</summary>
        internal ulong Enter(ulong client)
        {
            using (var memory = new ArgumentMemory())
            {
                var native = new NcEnter
                {
                    size = (uint)sizeof(NcEnter),
                    status = (uint)Status,
                    server = memory.Text(Server, "Server"),
                    token = memory.Text(Token, "Token"),
                    name = memory.Text(Name, "Name"),
                    agent = memory.Text(Agent, "Agent"),
                    ca_pem = memory.Text(CaPem, "CaPem"),
                    patience_ms = ConnectOptions.PatienceMilliseconds(Patience),
                };
                ulong social;
                Failures.Check(NativeMethods.nc_enter(client, &native, &social));
                return social;
            }
        }
    }

    /// <summary>A condition on a field that rooms list.</summary>
    public sealed unsafe class RoomFilter
    {
        RoomFilter(string key)
        {
            Key = key;
            Values = new Value[0];
        }

        /// <summary>The field's key.</summary>
        public string Key { get; private set; }

        internal Value[] Values { get; private set; }

        internal Value Low { get; private set; }

        internal Value High { get; private set; }

        /// <summary>The field must have this value.</summary>
        public static RoomFilter Equal(string key, Value value)
        {
            return OneOf(key, value);
        }

        /// <summary>The field must have one of these values, at most 16.</summary>
        public static RoomFilter OneOf(string key, params Value[] values)
        {
            return new RoomFilter(key) { Values = values };
        }

        /// <summary>The field must be a number from <paramref name="low"/> to <paramref name="high"/>. One
        /// of them may be <see cref="Value.None"/>: no limit.</summary>
        public static RoomFilter Between(string key, Value low, Value high)
        {
            return new RoomFilter(key) { Low = low, High = high };
        }

        internal static NcFilter* Native(IList<RoomFilter> filters, ArgumentMemory memory)
        {
            var native = (NcFilter*)memory.Zeroed(filters.Count, sizeof(NcFilter));
            for (int i = 0; i < filters.Count; i++)
            {
                RoomFilter filter = filters[i];
                var values = (NcValue*)memory.Zeroed(filter.Values.Length, sizeof(NcValue));
                for (int j = 0; j < filter.Values.Length; j++)
                {
                    values[j] = filter.Values[j].Native(memory);
                }
                native[i].key = memory.Text(filter.Key, "Key");
                native[i].values = values;
                native[i].value_count = (uint)filter.Values.Length;
                native[i].low = filter.Low.Native(memory);
                native[i].high = filter.High.Native(memory);
            }
            return native;
        }
    }
}
