using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;

// The part of UnityEngine that the package uses, for tests without Unity. Only what the tests need behaves as
// in Unity: components, transforms, messages such as Update, and the player loop.
namespace UnityEngine
{
    public class Object
    {
        public string name { get; set; }
        internal bool IsDestroyed { get; private set; }

        public static void Destroy(Object gone)
        {
            if (gone != null)
            {
                gone.DestroyNow();
            }
        }

        public static T Instantiate<T>(T original, Transform parent) where T : Component
        {
            GameObject copy = original.gameObject.Copy(parent);
            return copy.GetComponent<T>();
        }

        internal virtual void DestroyNow()
        {
            IsDestroyed = true;
        }

        public static bool operator ==(Object a, Object b)
        {
            bool isNoA = ReferenceEquals(a, null) || a.IsDestroyed;
            bool isNoB = ReferenceEquals(b, null) || b.IsDestroyed;
            return isNoA || isNoB ? isNoA && isNoB : ReferenceEquals(a, b);
        }

        public static bool operator !=(Object a, Object b)
        {
            return !(a == b);
        }

        public override bool Equals(object other)
        {
            return ReferenceEquals(this, other);
        }

        public override int GetHashCode()
        {
            return base.GetHashCode();
        }
    }

    public class Component : Object
    {
        public GameObject gameObject { get; internal set; }

        public Transform transform
        {
            get { return gameObject.transform; }
        }

        public T GetComponent<T>() where T : Component
        {
            return gameObject.GetComponent<T>();
        }
    }

    public class Behaviour : Component
    {
        public bool enabled { get; set; } = true;
    }

    public class MonoBehaviour : Behaviour
    {
        internal bool IsStarted { get; set; }

        internal void Send(string message)
        {
            const BindingFlags Any =
                BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;
            MethodInfo method = GetType().GetMethod(message, Any);
            try
            {
                method?.Invoke(this, null);
            }
            catch (TargetInvocationException exception)
            {
                Debug.LogException(exception.InnerException);
            }
        }

        internal override void DestroyNow()
        {
            if (!IsDestroyed)
            {
                Send("OnDisable");
                Send("OnDestroy");
                base.DestroyNow();
                StubEngine.Behaviours.Remove(this);
            }
        }
    }

    public sealed class GameObject : Object
    {
        readonly List<Component> components = new List<Component>();

        public GameObject(string name)
        {
            this.name = name;
            activeSelf = true;
            transform = new Transform { gameObject = this };
            components.Add(transform);
        }

        public Transform transform { get; private set; }
        public bool activeSelf { get; private set; }

        public bool activeInHierarchy
        {
            get { return activeSelf; }
        }

        public void SetActive(bool isActive)
        {
            activeSelf = isActive;
        }

        public T GetComponent<T>() where T : Component
        {
            return components.OfType<T>().FirstOrDefault();
        }

        public T AddComponent<T>() where T : Component, new()
        {
            var made = new T();
            Add(made);
            return made;
        }

        internal GameObject Copy(Transform parent)
        {
            var copy = new GameObject(name + "(Clone)");
            copy.transform.SetParent(parent, false);
            foreach (Component component in components.Where(one => !(one is Transform)))
            {
                var made = (Component)Activator.CreateInstance(component.GetType());
                CopyFields(component, made, copy);
                copy.Add(made);
            }
            return copy;
        }

        /// <summary>Copies the fields that Unity shows in the inspector. Transforms become new
        /// ones.</summary>
        static void CopyFields(Component from, Component to, GameObject root)
        {
            foreach (FieldInfo field in from.GetType().GetFields())
            {
                object value = field.GetValue(from);
                var part = value as Transform;
                if (part != null)
                {
                    var child = new GameObject(part.name);
                    child.transform.SetParent(root.transform, false);
                    value = child.transform;
                }
                field.SetValue(to, value);
            }
        }

        void Add(Component component)
        {
            component.gameObject = this;
            components.Add(component);
            var behaviour = component as MonoBehaviour;
            if (behaviour != null)
            {
                StubEngine.Behaviours.Add(behaviour);
                if (StubEngine.IsPlaying)
                {
                    behaviour.Send("OnEnable");
                }
            }
        }

        internal override void DestroyNow()
        {
            base.DestroyNow();
            components.ForEach(component => component.DestroyNow());
        }
    }

    /// <summary>Runs the messages of all components, frame by frame.</summary>
    public static class StubEngine
    {
        internal static readonly List<MonoBehaviour> Behaviours = new List<MonoBehaviour>();
        public static readonly List<string> Logged = new List<string>();

        public static bool IsPlaying { get; private set; }

        /// <summary>Makes a prefab: a component that gets no messages.</summary>
        public static T Prefab<T>(string name) where T : MonoBehaviour, new()
        {
            var made = new GameObject(name) { name = name }.AddComponent<T>();
            made.name = name;
            Behaviours.Remove(made);
            return made;
        }

        public static void Play()
        {
            IsPlaying = true;
            foreach (MonoBehaviour behaviour in Behaviours.ToArray())
            {
                behaviour.Send("OnEnable");
            }
        }

        public static void Frame()
        {
            foreach (MonoBehaviour behaviour in Behaviours.Where(one => !one.IsStarted).ToArray())
            {
                behaviour.IsStarted = true;
                behaviour.Send("Start");
            }
            LowLevel.PlayerLoop.Run();
            foreach (string message in new[] { "Update", "LateUpdate", "OnGUI" })
            {
                foreach (MonoBehaviour behaviour in Behaviours.ToArray())
                {
                    behaviour.Send(message);
                }
            }
        }

        public static void Stop()
        {
            foreach (MonoBehaviour behaviour in Behaviours.ToArray())
            {
                Object.Destroy(behaviour.gameObject);
            }
            Behaviours.Clear();
            IsPlaying = false;
            Application.Quit();
        }
    }
}
