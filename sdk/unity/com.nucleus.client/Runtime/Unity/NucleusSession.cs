using System;
using System.Threading.Tasks;
using UnityEngine;

namespace Nucleus.Unity
{
    /// <summary>A room for the components of a scene: joins it, and joins again if it is lost for
    /// good.</summary>
    [AddComponentMenu("Nucleus/Nucleus Session")]
    public sealed class NucleusSession : MonoBehaviour
    {
        const float FirstPauseSeconds = 1, LongestPauseSeconds = 30;

        [Tooltip("host:port, or host for port 5055")]
        public string server = "127.0.0.1:5055";
        [Tooltip("A join token, for development. A product sets TokenProvider instead.")]
        public string token = "";
        [Tooltip("The room's name. Empty: the room that the token names.")]
        public string roomName = "";
        [Tooltip("The display name. Empty: the name in the token.")]
        public string displayName = "";
        [Tooltip("The application's version: clients of different versions never meet.")]
        public string version = "";
        [Tooltip("Joins when the component starts.")]
        public bool connectOnStart = true;
        [Tooltip("Joins again after a failure, with growing pauses.")]
        public bool keepConnected = true;
        [Tooltip("What stands at the room's origin. Empty: the world's origin.")]
        public Transform origin;

        bool wantsRoom;
        bool isAttempting;
        float nextAttempt;
        float pause = FirstPauseSeconds;

        /// <summary>Returns a join token from the application's backend. Also used when the server wants a
        /// fresh one.</summary>
        public Func<Task<string>> TokenProvider { get; set; }

        /// <summary>Changes the options of the next join, for example its mode, filters or fields.</summary>
        public Action<ConnectOptions> Configure { get; set; }

        /// <summary>The room; null before the first join. Its events are raised before the Update of
        /// scripts.</summary>
        public Room Room { get; private set; }

        /// <summary>Whether the room is joined. Also true while its session is interrupted.</summary>
        public bool IsJoined
        {
            get
            {
                return Room != null && (Room.Status == SessionStatus.Connected
                    || Room.Status == SessionStatus.Interrupted);
            }
        }

        /// <summary>Where the connection stands.</summary>
        public SessionStatus Status
        {
            get { return Room == null ? SessionStatus.Closed : Room.Status; }
        }

        /// <summary>A join begins: add event handlers to this room, which miss nothing.</summary>
        public event Action<Room> Connecting;

        /// <summary>The room is joined.</summary>
        public event Action<Room> Joined;

        /// <summary>The room could not be joined.</summary>
        public event Action<Exception> JoinFailed;

        /// <summary>The room is closed. Not raised if <see cref="Connect"/> has begun to join another one
        /// before.</summary>
        public event Action<Reason> Closed;

        /// <summary>Joins the room. Failures are told by <see cref="JoinFailed"/>.</summary>
        public void Connect()
        {
            wantsRoom = true;
            nextAttempt = 0;
            if (!isAttempting && !IsJoined)
            {
                Attempt();
            }
        }

        /// <summary>Leaves the room.</summary>
        public void Leave()
        {
            wantsRoom = false;
            if (IsJoined)
            {
                Room.LeaveAsync();
            }
            else if (Room != null)
            {
                Room.Dispose();
            }
        }

        void Start()
        {
            if (connectOnStart)
            {
                Connect();
            }
        }

        void Update()
        {
            if (wantsRoom && keepConnected && nextAttempt > 0 && Time.unscaledTime >= nextAttempt)
            {
                nextAttempt = 0;
                Attempt();
            }
        }

        void OnDestroy()
        {
            wantsRoom = false;
            if (Room != null && !Room.Client.IsDisposed)
            {
                Room.Dispose();
            }
        }

        async void Attempt()
        {
            Room room = null;
            isAttempting = true;
            try
            {
                string current = TokenProvider == null ? token : await TokenProvider();
                if (!wantsRoom)
                {
                    return;
                }
                room = NucleusRuntime.Client.Connect(Options(current));
                Room = room;
                room.Closed += reason => OnClosed(room, reason);
                Connecting?.Invoke(room);
                await room.Joined;
                isAttempting = false;
                pause = FirstPauseSeconds;
                Joined?.Invoke(room);
            }
            catch (ObjectDisposedException)
            {
                // Left, or destroyed, while joining.
            }
            catch (Exception exception)
            {
                if (room != null && room.Joined.Status == TaskStatus.RanToCompletion)
                {
                    // A handler of Joined has failed, not the join.
                    Debug.LogException(exception);
                    return;
                }
                Debug.LogWarning("Nucleus: the room could not be joined: " + exception.Message);
                var failure = exception as NucleusException;
                TryAgain(failure == null ? TimeSpan.Zero : failure.RetryAfter);
                JoinFailed?.Invoke(exception);
            }
            finally
            {
                isAttempting = false;
            }
        }

        ConnectOptions Options(string current)
        {
            var options = new ConnectOptions(server, current)
            {
                Room = NullIfEmpty(roomName),
                Name = NullIfEmpty(displayName),
                Version = NullIfEmpty(version),
                Agent = "unity " + Application.unityVersion,
                TokenProvider = TokenProvider,
            };
            Configure?.Invoke(options);
            return options;
        }

        void OnClosed(Room room, Reason reason)
        {
            if (room != Room)
            {
                // Left, and joined again before the server has answered.
                return;
            }
            if (!IsFinal(reason.Code))
            {
                TryAgain(TimeSpan.Zero);
            }
            Closed?.Invoke(reason);
        }

        void TryAgain(TimeSpan wanted)
        {
            nextAttempt = Time.unscaledTime + Math.Max(pause, (float)wanted.TotalSeconds);
            pause = Math.Min(pause * 2, LongestPauseSeconds);
        }

        /// <summary>Returns whether the room was left on purpose: this user's, or a moderator's.</summary>
        static bool IsFinal(ReasonCode code)
        {
            return code == ReasonCode.Left || code == ReasonCode.Replaced
                || code == ReasonCode.Kicked || code == ReasonCode.RoomEnded;
        }

        static string NullIfEmpty(string text)
        {
            return string.IsNullOrEmpty(text) ? null : text;
        }
    }
}
