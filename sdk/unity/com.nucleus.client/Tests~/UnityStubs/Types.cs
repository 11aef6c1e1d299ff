using System;
using System.Diagnostics;

namespace UnityEngine
{
    public struct Vector3
    {
        public float x;
        public float y;
        public float z;

        public Vector3(float x, float y, float z)
        {
            this.x = x;
            this.y = y;
            this.z = z;
        }

        public static Vector3 operator +(Vector3 a, Vector3 b)
        {
            return new Vector3(a.x + b.x, a.y + b.y, a.z + b.z);
        }

        public static Vector3 operator -(Vector3 a, Vector3 b)
        {
            return new Vector3(a.x - b.x, a.y - b.y, a.z - b.z);
        }
    }

    public struct Quaternion
    {
        public static readonly Quaternion identity = new Quaternion(0, 0, 0, 1);

        public float x;
        public float y;
        public float z;
        public float w;

        public Quaternion(float x, float y, float z, float w)
        {
            this.x = x;
            this.y = y;
            this.z = z;
            this.w = w;
        }

        public static Quaternion Inverse(Quaternion q)
        {
            return new Quaternion(-q.x, -q.y, -q.z, q.w);
        }

        public static Quaternion operator *(Quaternion a, Quaternion b)
        {
            return new Quaternion(
                a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
                a.w * b.y + a.y * b.w + a.z * b.x - a.x * b.z,
                a.w * b.z + a.z * b.w + a.x * b.y - a.y * b.x,
                a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z);
        }

        public static Vector3 operator *(Quaternion q, Vector3 v)
        {
            Quaternion turned = q * new Quaternion(v.x, v.y, v.z, 0) * Inverse(q);
            return new Vector3(turned.x, turned.y, turned.z);
        }

        /// <summary>A rotation around y, in degrees, as Unity turns: z towards x.</summary>
        public static Quaternion Euler(float x, float y, float z)
        {
            double half = y * Math.PI / 360;
            return new Quaternion(0, (float)Math.Sin(half), 0, (float)Math.Cos(half));
        }
    }

    /// <summary>A transform without a parent's: the tests move transforms in the world.</summary>
    public sealed class Transform : Component
    {
        public Vector3 position { get; set; }
        public Quaternion rotation { get; set; } = Quaternion.identity;
        public Transform parent { get; private set; }

        public void SetParent(Transform to, bool staysInWorld)
        {
            parent = to;
        }

        public void SetPositionAndRotation(Vector3 to, Quaternion turned)
        {
            position = to;
            rotation = turned;
        }

        public Vector3 InverseTransformPoint(Vector3 world)
        {
            return Quaternion.Inverse(rotation) * (world - position);
        }

        public Vector3 TransformPoint(Vector3 local)
        {
            return rotation * local + position;
        }
    }

    public static class Debug
    {
        public static void Log(object text)
        {
            StubEngine.Logged.Add("log " + text);
        }

        public static void LogWarning(object text)
        {
            StubEngine.Logged.Add("warning " + text);
        }

        public static void LogError(object text)
        {
            StubEngine.Logged.Add("error " + text);
        }

        public static void LogException(Exception exception)
        {
            StubEngine.Logged.Add("exception " + exception);
        }
    }

    public static class Time
    {
        static readonly Stopwatch Watch = Stopwatch.StartNew();

        public static float unscaledTime
        {
            get { return (float)Watch.Elapsed.TotalSeconds; }
        }

        public static float time
        {
            get { return unscaledTime; }
        }
    }

    public static class Application
    {
        public static event Action quitting;

        public static string unityVersion
        {
            get { return "stub"; }
        }

        internal static void Quit()
        {
            quitting?.Invoke();
        }
    }

    public enum RuntimeInitializeLoadType
    {
        SubsystemRegistration,
    }

    [AttributeUsage(AttributeTargets.Method)]
    public sealed class RuntimeInitializeOnLoadMethodAttribute : Attribute
    {
        public RuntimeInitializeOnLoadMethodAttribute(RuntimeInitializeLoadType type)
        {
        }
    }

    public sealed class TooltipAttribute : Attribute
    {
        public TooltipAttribute(string text)
        {
        }
    }

    public sealed class RangeAttribute : Attribute
    {
        public RangeAttribute(float low, float high)
        {
        }
    }

    public sealed class AddComponentMenu : Attribute
    {
        public AddComponentMenu(string path)
        {
        }
    }

    /// <summary>Buttons that a test presses.</summary>
    public static class GUILayout
    {
        public static string Pressed { get; set; }

        public static void Label(string text)
        {
        }

        public static bool Button(string text)
        {
            bool isPressed = text == Pressed;
            Pressed = isPressed ? null : Pressed;
            return isPressed;
        }
    }

    public sealed class RequireComponent : Attribute
    {
        public RequireComponent(Type type)
        {
        }
    }
}

namespace UnityEngine.PlayerLoop
{
    public struct Update
    {
    }

    public struct PreUpdate
    {
    }
}

namespace UnityEngine.LowLevel
{
    public struct PlayerLoopSystem
    {
        public delegate void UpdateFunction();

        public Type type;
        public PlayerLoopSystem[] subSystemList;
        public UpdateFunction updateDelegate;
    }

    public static class PlayerLoop
    {
        static PlayerLoopSystem current = new PlayerLoopSystem
        {
            subSystemList = new[]
            {
                new PlayerLoopSystem { type = typeof(UnityEngine.PlayerLoop.PreUpdate) },
                new PlayerLoopSystem { type = typeof(UnityEngine.PlayerLoop.Update) },
            },
        };

        public static PlayerLoopSystem GetCurrentPlayerLoop()
        {
            return current;
        }

        public static void SetPlayerLoop(PlayerLoopSystem loop)
        {
            current = loop;
        }

        internal static void Run()
        {
            Run(current);
        }

        /// <summary>Number of steps that were added to a phase.</summary>
        public static int Steps(Type phase)
        {
            PlayerLoopSystem found = Array.Find(current.subSystemList, one => one.type == phase);
            return found.subSystemList == null ? 0 : found.subSystemList.Length;
        }

        static void Run(PlayerLoopSystem system)
        {
            system.updateDelegate?.Invoke();
            foreach (PlayerLoopSystem step in system.subSystemList ?? new PlayerLoopSystem[0])
            {
                Run(step);
            }
        }
    }
}
